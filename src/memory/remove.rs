//! Taking entities and relationships out.

use super::rows::{self, literal, quoted};
use super::tables::{EMBEDDING, ENTITY, RELATIONSHIP};
use super::{Memories, MemoryAt, MemoryError, table_at};
use crate::columnar::typed::Typed;
use crate::dataset::Place;
use crate::error_code::RoomCode;
use serde::Deserialize;

/// Most ids or relationships of one call.
pub const REMOVALS_MAX: usize = 50_000;
/// Ids in one SQL condition.
const IDS_MAX: usize = 500;
/// Relationships in one SQL condition.
const SELECTORS_MAX: usize = 50;

/// How many are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub entities: u64,
    pub relationships: u64,
}

/// Relationships between two entities.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    pub source_entity_id: String,
    pub target_entity_id: String,
    /// `None`: of every type.
    #[serde(default)]
    pub relationship_type: Option<String>,
}

impl Memories {
    /// Removes entities with all their relationships. Unknown ids are passed over.
    pub async fn delete_entities(&self, at: &MemoryAt, ids: &[String]) -> Result<Removed, MemoryError> {
        bounded(ids.len())?;
        let lock = self.room_lock(at.room);
        let _writing = lock.write().await;
        let place = self.find(at).await?;
        let ids: Vec<Typed> = ids.iter().cloned().map(Typed::Text).collect();
        let mut removed = Removed::default();
        for some in ids.chunks(IDS_MAX) {
            let (source, target) =
                (rows::among("source_entity_id", some)?, rows::among("target_entity_id", some)?);
            removed.relationships +=
                self.delete_where(&place, RELATIONSHIP, &format!("{source} OR {target}")).await?;
        }
        for some in ids.chunks(IDS_MAX) {
            let filter = rows::among("entity_id", some)?;
            self.delete_where(&place, EMBEDDING, &filter).await?;
            removed.entities += self.delete_where(&place, ENTITY, &filter).await?;
        }
        Ok(removed)
    }

    /// Removes relationships; how many.
    pub async fn delete_relationships(
        &self,
        at: &MemoryAt,
        selectors: &[Selector],
    ) -> Result<u64, MemoryError> {
        bounded(selectors.len())?;
        let lock = self.room_lock(at.room);
        let _writing = lock.write().await;
        let place = self.find(at).await?;
        let mut removed = 0;
        for some in selectors.chunks(SELECTORS_MAX) {
            let one = |selector: &Selector| {
                let is = |column: &str, text: &String| {
                    Ok::<_, MemoryError>(format!(
                        "{} = {}",
                        quoted(column),
                        literal(&Typed::Text(text.clone()))?
                    ))
                };
                let mut condition = format!(
                    "{} AND {}",
                    is("source_entity_id", &selector.source_entity_id)?,
                    is("target_entity_id", &selector.target_entity_id)?
                );
                if let Some(kind) = &selector.relationship_type {
                    condition = format!("{condition} AND {}", is("relationship_type", kind)?);
                }
                Ok(format!("({condition})"))
            };
            let conditions: Vec<String> = some.iter().map(one).collect::<Result<_, MemoryError>>()?;
            removed += self.delete_where(&place, RELATIONSHIP, &conditions.join(" OR ")).await?;
        }
        Ok(removed)
    }

    /// A table that is not there has nothing to delete.
    async fn delete_where(&self, place: &Place, table: &str, filter: &str) -> Result<u64, MemoryError> {
        match self.store.delete(&table_at(place, table), filter).await {
            Ok(written) => Ok(written.rows),
            Err(error) if error.code == RoomCode::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

fn bounded(count: usize) -> Result<(), MemoryError> {
    if count > REMOVALS_MAX {
        return Err(MemoryError::invalid(format!("one call takes at most {REMOVALS_MAX}; send several")));
    }
    Ok(())
}
