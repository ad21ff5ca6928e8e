//! `meshagent bench storage`: uploading a file through the server beside copying it with a sync, on the same disk, in turns.

use super::BenchError;
use super::fanout::contestant::Contestant;
use super::measure::median;
use futures_util::stream;
use serde::Serialize;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// Bytes read and written at once, by both.
const BLOCK_BYTES: usize = 1024 * 1024;
/// The room that files go to.
const ROOM: &str = "storage";

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server under test: this program.
    pub program: PathBuf,
    /// On the disk to be measured; what is made there is removed.
    pub dir: PathBuf,
    /// Size of the file, mebibytes.
    pub mebibytes: usize,
    /// Measurements of each, in turns; the median counts.
    pub repeats: usize,
}

/// Mebibytes per second, one per repeat.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub mebibytes: usize,
    /// Read, write, sync the file and its folder.
    pub copy: Vec<f64>,
    /// Read, send by HTTP, answered when it is on disk.
    pub upload: Vec<f64>,
    /// Asked for by HTTP and read to the end.
    pub download: Vec<f64>,
}

impl Report {
    /// Median upload over median copy.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        median(self.upload.clone()) / median(self.copy.clone()).max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a file of {} MiB, MiB per second (median of {}):", self.mebibytes, self.copy.len())?;
        writeln!(f, "  copy with fsync: {:.0}", median(self.copy.clone()))?;
        writeln!(f, "  upload: {:.0}, {:.2} of the copy", median(self.upload.clone()), self.ratio())?;
        write!(f, "  download: {:.0}", median(self.download.clone()))
    }
}

fn failed(reason: impl fmt::Display) -> BenchError {
    BenchError::Failed { name: "storage".to_owned(), reason: reason.to_string() }
}

/// Measures all, each repeat in turns.
pub async fn run(options: &Options, mut say: impl FnMut(&str) + Send) -> Result<Report, BenchError> {
    let disk = |source| BenchError::Disk { place: options.dir.display().to_string(), source };
    let dir = options.dir.join(format!("meshagent-bench-storage-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(disk)?;
    let result = measure(options, &dir, &mut say).await;
    std::fs::remove_dir_all(&dir).map_err(disk)?;
    result
}

async fn measure(
    options: &Options,
    dir: &Path,
    say: &mut (impl FnMut(&str) + Send),
) -> Result<Report, BenchError> {
    let source = dir.join("source");
    fill(&source, options.mebibytes).map_err(failed)?;
    let server = Contestant::ours_in(&options.program, &dir.join("data"), &[]).await?;
    let desk = Desk::open(&server).await?;
    let mut report = Report { mebibytes: options.mebibytes, ..Report::default() };
    for repeat in 1..=options.repeats {
        say(&format!("repeat {repeat} of {}", options.repeats));
        // Each goes first as often as the other: who does may pay for what the disk still has to do.
        if repeat % 2 == 0 {
            report.upload.push(rate(options, desk.upload(&source).await?));
        }
        let (from, to) = (source.clone(), dir.join("copy"));
        let copied = tokio::task::spawn_blocking(move || copy(&from, &to)).await.map_err(failed)?;
        report.copy.push(rate(options, copied.map_err(failed)?));
        if repeat % 2 == 1 {
            report.upload.push(rate(options, desk.upload(&source).await?));
        }
        report.download.push(rate(options, desk.download().await?));
    }
    server.stop().await;
    Ok(report)
}

#[allow(clippy::cast_precision_loss, reason = "a size for people")]
fn rate(options: &Options, took: Duration) -> f64 {
    options.mebibytes as f64 / took.as_secs_f64()
}

/// Bytes that do not compress.
fn fill(path: &Path, mebibytes: usize) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut block = vec![0; BLOCK_BYTES];
    for _ in 0..mebibytes {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all()
}

/// What anybody would do who wants the copy to be there tomorrow.
fn copy(from: &Path, to: &Path) -> std::io::Result<Duration> {
    let begun = Instant::now();
    let (mut source, mut target) = (std::fs::File::open(from)?, std::fs::File::create(to)?);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = source.read(&mut block)?;
        if read == 0 {
            break;
        }
        target.write_all(block.get(..read).unwrap_or_default())?;
    }
    target.sync_all()?;
    if let Some(folder) = to.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    let took = begun.elapsed();
    std::fs::remove_file(to)?;
    Ok(took)
}

/// The files service of one room.
struct Desk {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Desk {
    async fn open(server: &Contestant) -> Result<Self, BenchError> {
        let client = reqwest::Client::new();
        let (base, project, key) = (format!("http://{}", server.address), server.project(), server.api_key());
        let made = client
            .post(format!("{base}/accounts/projects/{project}/rooms"))
            .bearer_auth(key)
            .json(&serde_json::json!({"name": ROOM, "if_not_exists": true}))
            .send()
            .await
            .map_err(failed)?;
        made.error_for_status().map_err(failed)?;
        Ok(Self { client, url: format!("{base}/files/{project}/rooms/{ROOM}/big.bin"), key: key.to_owned() })
    }

    async fn upload(&self, path: &Path) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        let blocks = stream::try_unfold(file, |mut file| async move {
            let mut block = bytes::BytesMut::with_capacity(BLOCK_BYTES);
            let read = file.read_buf(&mut block).await?;
            Ok::<_, std::io::Error>((read > 0).then(|| (block.freeze(), file)))
        });
        let body = reqwest::Body::wrap_stream(blocks);
        let sent =
            self.client.put(&self.url).bearer_auth(&self.key).body(body).send().await.map_err(failed)?;
        sent.error_for_status().map_err(failed)?;
        Ok(begun.elapsed())
    }

    async fn download(&self) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        let answer = self.client.get(&self.url).bearer_auth(&self.key).send().await.map_err(failed)?;
        let mut answer = answer.error_for_status().map_err(failed)?;
        while answer.chunk().await.map_err(failed)?.is_some() {}
        Ok(begun.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_time_and_leaves_nothing() {
        let dir = tempfile::TempDir::new().unwrap();
        let source = dir.path().join("source");
        fill(&source, 1).unwrap();
        assert!(copy(&source, &dir.path().join("copy")).unwrap() > Duration::ZERO);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(source).unwrap().len(), BLOCK_BYTES as u64);
    }

    #[test]
    fn the_ratio_is_that_of_the_medians() {
        let report =
            Report { mebibytes: 1, copy: vec![1.0, 4.0, 9.0], upload: vec![2.0, 3.0, 9.0], download: vec![] };
        assert!((report.ratio() - 0.75).abs() < 1e-9);
    }
}
