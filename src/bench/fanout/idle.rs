//! What participants cost that are there and say nothing.

use super::contestant::Contestant;
use super::report::IdleFigure;
use super::{Options, crowd, failed, socket};
use crate::bench::BenchError;
use bytes::BytesMut;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::net::TcpStream;

/// Connections made at the same time.
const DIAL_MAX: usize = 64;
/// How long the server is left alone before and while it is looked at; longer than one round of its pings.
const QUIET: Duration = Duration::from_secs(20);

/// Connects the participants, waits, and looks at the server.
pub(super) async fn measure(options: &Options) -> Result<IdleFigure, BenchError> {
    let contestant = Contestant::ours(&options.program).await?;
    let alone = contestant.used();
    let dial = |index: usize| enter(&contestant, index);
    let dialled = futures_util::stream::iter(0..options.idle).map(dial).buffer_unordered(DIAL_MAX);
    let joined: Vec<Result<(TcpStream, BytesMut), BenchError>> = dialled.collect().await;
    let joined: Vec<(TcpStream, BytesMut)> = joined.into_iter().collect::<Result<_, _>>()?;
    let mut listeners = tokio::task::JoinSet::new();
    for (stream, rest) in joined {
        listeners.spawn(answer_pings(stream, rest));
    }
    tokio::time::sleep(QUIET).await;
    let before = contestant.used();
    tokio::time::sleep(QUIET).await;
    let after = contestant.used();
    let gone = std::iter::from_fn(|| listeners.try_join_next()).count();
    if gone > 0 {
        return Err(failed(&contestant.name, format!("{gone} idle participants lost their connection")));
    }
    contestant.stop().await;
    Ok(IdleFigure {
        participants: options.idle,
        alone_bytes: alone.resident_bytes,
        resident_bytes: after.resident_bytes,
        cpu_share: (after.cpu_seconds - before.cpu_seconds) / QUIET.as_secs_f64(),
        written_bytes: after.written_bytes - before.written_bytes,
        database_wakes: after.database_wakes - before.database_wakes,
    })
}

async fn enter(contestant: &Contestant, index: usize) -> Result<(TcpStream, BytesMut), BenchError> {
    let path = contestant.path(&format!("idle{index}"))?;
    let (mut stream, mut rest) = socket::open(contestant.address, &path, None).await?;
    crowd::wait_for(&mut stream, &mut rest, b"room_ready").await?;
    Ok((stream, BytesMut::from(&rest[..])))
}

async fn answer_pings(mut stream: TcpStream, mut buffer: BytesMut) {
    use bytes::Buf;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        while let Some((bytes, frame)) = socket::next(&buffer) {
            let pong = match frame {
                socket::Frame::Ping(payload) => Some(socket::pong(payload)),
                socket::Frame::Data(_) => None,
                socket::Frame::Closed => return,
            };
            buffer.advance(bytes);
            if let Some(pong) = pong
                && stream.write_all(&pong).await.is_err()
            {
                return;
            }
        }
        if !stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
}
