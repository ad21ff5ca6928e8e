//! Which names an image archive would give its images: read before the engine takes it in, so that no room takes
//! another's names. Archives as `save` writes them, and OCI layouts.

use crate::blob::Blobs;
use crate::id::RoomId;
use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, Read};
use tokio::sync::mpsc;

/// Largest list of names in an archive, bytes.
const LIST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most entries of an archive.
const ENTRIES_MAX: usize = 100_000;
/// Blocks between the file and the reader.
const BLOCKS_WAITING_MAX: usize = 4;
const BLOCK_BYTES: usize = 256 * 1024;
/// Annotations that name an image in an OCI layout; the first may be a tag alone, which engines do not take.
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// The names in an archive of the room's files. An archive that cannot be read is an error.
pub(super) async fn names(files: &Blobs, room: RoomId, path: &str) -> Result<Vec<String>, String> {
    let mut file = files.room(room).open_read(path, None).await.map_err(|error| error.to_string())?;
    let (sender, blocks) = mpsc::channel::<io::Result<Bytes>>(BLOCKS_WAITING_MAX);
    let reading = tokio::task::spawn_blocking(move || read(Blocks { blocks, block: Bytes::new() }));
    loop {
        let block = file.read(BLOCK_BYTES).await.map_err(|error| io::Error::other(error.to_string()));
        let end = block.as_ref().map_or(true, Bytes::is_empty);
        // The reader stops when it has seen enough.
        if end || sender.send(block).await.is_err() {
            break;
        }
    }
    drop(sender);
    let names = reading.await.map_err(|error| error.to_string())?;
    names.map_err(|error| {
        format!("`{path}` is no image archive: {error}; write one with `podman save` or `docker save`, uncompressed")
    })
}

fn read(archive: impl Read) -> io::Result<Vec<String>> {
    let mut archive = tar::Archive::new(archive);
    let (mut names, mut known) = (Vec::new(), false);
    for (count, entry) in archive.entries()?.enumerate() {
        if count >= ENTRIES_MAX {
            return Err(io::Error::other(format!("it has more than {ENTRIES_MAX} entries")));
        }
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        if path == "manifest.json" {
            let saved: Vec<Saved> = serde_json::from_reader(entry.take(LIST_BYTES_MAX))?;
            names.extend(saved.into_iter().flat_map(|saved| saved.repo_tags.unwrap_or_default()));
            known = true;
        } else if path == "index.json" {
            let index: Index = serde_json::from_reader(entry.take(LIST_BYTES_MAX))?;
            for annotations in index.manifests.into_iter().filter_map(|entry| entry.annotations) {
                names.extend(NAME_ANNOTATIONS.iter().filter_map(|name| annotations.get(*name).cloned()));
            }
            known = true;
        }
    }
    if known { Ok(names) } else { Err(io::Error::other("it has neither manifest.json nor index.json")) }
}

/// Blocks as one reader.
struct Blocks {
    blocks: mpsc::Receiver<io::Result<Bytes>>,
    block: Bytes,
}

impl Read for Blocks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.block.is_empty() {
            match self.blocks.blocking_recv() {
                Some(block) => self.block = block?,
                None => return Ok(0),
            }
        }
        let len = into.len().min(self.block.len());
        into[..len].copy_from_slice(&self.block.split_to(len));
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn names_of_both_kinds_of_archives_are_read() {
        let saved = archive(&[("x/layer.tar", "…"), ("manifest.json", r#"[{"RepoTags":["a:1","b:2"]},{}]"#)]);
        assert_eq!(read(&*saved).unwrap(), ["a:1", "b:2"]);
        let layout = r#"{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"c:3"}},{}]}"#;
        assert_eq!(read(&*archive(&[("./index.json", layout)])).unwrap(), ["c:3"]);
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let long = vec![7_u8; 2_000];
        for bad in [&long[..], &archive(&[("hello", "x")]), &archive(&[("manifest.json", "{")]), b""] {
            assert!(read(bad).is_err());
        }
    }
}
