//! Removes documents whose card was deleted. Run when nobody has a document of the room open.

use super::card::{self, At};
use super::error::DocumentError;
use super::journal::Journal;
use crate::blob::RoomFiles;
use uuid::Uuid;

/// Documents read from the journal at once.
const PAGE: u32 = 256;

/// A document without a card is removed the second time that is found: a card may be on its way from one folder to
/// another while it is looked for. One that was moved is remembered at its new place.
pub(super) async fn up(files: &RoomFiles, journal: &Journal) -> Result<(), DocumentError> {
    let failed = |error| DocumentError::Journal { path: String::new(), error };
    let mut cards = None;
    let mut after = Uuid::nil();
    loop {
        let page = journal.list(after, PAGE).await.map_err(failed)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        for (id, path) in page {
            if card::look(files, &path).await? == At::Document(id) {
                continue;
            }
            if cards.is_none() {
                let Some(all) = card::all(files).await? else { return Ok(()) };
                cards = Some(all);
            }
            match cards.as_ref().and_then(|cards| cards.get(&id)) {
                Some(place) => journal.rename(id, place.clone()).await.map_err(failed)?,
                None => journal.gone(id).await.map_err(failed)?,
            }
        }
    }
}
