//! Standard output of a server, line by line: an answer that is too long becomes an error in its place, so that whoever
//! asked is told.

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, DuplexStream};

/// Bytes of one message.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes at either end of a message in which its id is looked for.
const END_BYTES: usize = 256;
const PIPE_BYTES: usize = 64 * 1024;

/// The same stream, without lines of more than `max` bytes. It ends with `from`, or when nobody reads it.
pub(super) fn bounded(from: impl AsyncRead + Send + Unpin + 'static, max: usize) -> DuplexStream {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    tokio::spawn(async move {
        if let Err(error) = copy(from, far, max).await {
            tracing::debug!(%error, "the output of an MCP server has ended");
        }
    });
    near
}

async fn copy(from: impl AsyncRead + Send + Unpin, mut to: DuplexStream, max: usize) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    let (mut line, mut tail, mut size) = (Vec::new(), Vec::new(), 0_usize);
    loop {
        let piece = from.fill_buf().await?;
        if piece.is_empty() {
            return Ok(());
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let piece = piece.get(..end.map_or(piece.len(), |at| at + 1)).unwrap_or_default();
        let taken = piece.len();
        let free = max.saturating_sub(line.len()).min(taken);
        line.extend_from_slice(piece.get(..free).unwrap_or_default());
        tail.extend_from_slice(piece.get(taken.saturating_sub(END_BYTES)..).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(END_BYTES));
        size = size.saturating_add(taken);
        from.consume(taken);
        if end.is_none() {
            continue;
        }
        if size <= max {
            to.write_all(&line).await?;
        } else if let Some(id) = id(&line, &tail) {
            let text = format!("the answer has {size} bytes, which is more than {max}");
            let refusal = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": text}});
            to.write_all(format!("{refusal}\n").as_bytes()).await?;
        }
        (line, size) = (Vec::new(), 0);
        tail.clear();
    }
}

/// The id of an answer: before what it answers, else after it.
fn id(line: &[u8], tail: &[u8]) -> Option<u64> {
    const KEY: &str = "\"id\":";
    let number = |text: &str| {
        let text = text.trim_start();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text.get(..digits)?.parse().ok()
    };
    let head =
        String::from_utf8_lossy(line.get(..END_BYTES.min(line.len())).unwrap_or_default()).into_owned();
    let before = head.split("\"result\"").next().unwrap_or_default();
    if let Some((_, after)) = before.split_once(KEY) {
        return number(after);
    }
    let tail = String::from_utf8_lossy(tail).into_owned();
    tail.rsplit_once(KEY).and_then(|(_, after)| number(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use tokio::io::AsyncReadExt;

    async fn through(text: &str, max: usize) -> Vec<Value> {
        let mut out = String::new();
        bounded(std::io::Cursor::new(text.to_owned()), max).read_to_string(&mut out).await.unwrap();
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_becomes_an_error_in_its_place() {
        let long = "x".repeat(5000);
        let first = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"id":1,"text":"{long}"}}}}"#);
        let last = format!(r#"{{"result":{{"id":1,"text":"{long}"}},"jsonrpc":"2.0","id": 8}}"#);
        let note = format!(r#"{{"jsonrpc":"2.0","method":"note","params":"{long}"}}"#);
        let short = r#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
        let all = through(&format!("{first}\n{last}\n{note}\n{short}\n"), 1000).await;
        let ids: Vec<_> = all.iter().map(|message| message["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, [7, 8, 9]);
        assert!(all[0]["error"]["message"].as_str().unwrap().contains("more than 1000"));
        assert!(all[1]["error"].is_object() && all[2]["result"].is_object());
        let whole = through(&format!("{first}\n{short}\n"), LINE_BYTES_MAX).await;
        assert_eq!(whole[0]["result"]["text"].as_str().unwrap().len(), 5000);
    }
}
