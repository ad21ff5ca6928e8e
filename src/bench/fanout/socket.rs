//! The least of a WebSocket client: handshake, masked frames out, and frames in that are counted as they pass.

use super::failed;
use crate::bench::BenchError;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longest answer to a handshake.
const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;
const BINARY: u8 = 0x82;
const PING: u8 = 0x09;
const PONG: u8 = 0x8A;
const CLOSE: u8 = 0x08;

/// Opens a connection and goes through the handshake; what came behind it is the frames' begin.
pub(in crate::bench) async fn open(
    address: SocketAddr,
    path: &str,
    receive_buffer: Option<u32>,
) -> Result<(TcpStream, BytesMut), BenchError> {
    let broken = |error: std::io::Error| failed("the receiver", error);
    let socket = TcpSocket::new_v4().map_err(broken)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).map_err(broken)?;
    }
    let mut stream = socket.connect(address).await.map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut answer).await.map_err(broken)? == 0 || answer.len() > HANDSHAKE_BYTES_MAX {
            return Err(failed("the handshake", "the server closed the connection"));
        }
        if let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            if !answer.starts_with(b"HTTP/1.1 101") {
                let said = String::from_utf8_lossy(&answer).into_owned();
                return Err(failed("the handshake", said));
            }
            answer.advance(end + 4);
            return Ok((stream, answer));
        }
    }
}

/// A frame as a client sends it. The mask is zero: the payload stays as it is.
pub(in crate::bench) fn frame(payload: &[u8]) -> Bytes {
    masked(BINARY, payload)
}

fn masked(kind: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 14);
    frame.put_u8(kind);
    match payload.len() {
        length @ 0..=125 => frame.put_u8(0x80 | u8::try_from(length).unwrap_or_default()),
        length @ 126..=0xFFFF => {
            frame.put_u8(0xFE);
            frame.put_u16(u16::try_from(length).unwrap_or_default());
        }
        length => {
            frame.put_u8(0xFF);
            frame.put_u64(length as u64);
        }
    }
    frame.put_u32(0);
    frame.put_slice(payload);
    frame.freeze()
}

/// What a server sent.
#[derive(Debug, PartialEq)]
pub(in crate::bench) enum Frame<'a> {
    /// The payload of a message.
    Data(&'a [u8]),
    Ping(&'a [u8]),
    Closed,
}

/// The first whole frame of the buffer, and how many bytes it takes up.
pub(in crate::bench) fn next(buffer: &[u8]) -> Option<(usize, Frame<'_>)> {
    let (kind, length) = (*buffer.first()?, *buffer.get(1)?);
    let (header, length) = match length & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let payload = buffer.get(header..header + length)?;
    let frame = match kind & 0x0F {
        PING => Frame::Ping(payload),
        CLOSE => Frame::Closed,
        _ => Frame::Data(payload),
    };
    Some((header + length, frame))
}

/// The answer to a ping.
pub(in crate::bench) fn pong(payload: &[u8]) -> Bytes {
    masked(PONG, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_and_in_order() {
        let mut sent = vec![0x82, 3, b'a', b'b', b'c', 0x89, 0, 0x82, 126, 1, 0];
        assert_eq!(next(&sent), Some((5, Frame::Data(b"abc"))));
        assert_eq!(next(&sent[5..]), Some((2, Frame::Ping(b""))));
        assert_eq!(next(&sent[7..]), None, "half a frame");
        sent.extend([7; 256]);
        assert_eq!(next(&sent[7..]), Some((260, Frame::Data(&[7; 256]))));
    }

    #[test]
    fn long_payloads_have_long_headers() {
        for (bytes, header) in [(10, 6), (200, 8), (70_000, 14)] {
            assert_eq!(frame(&vec![0; bytes]).len(), bytes + header);
        }
    }
}
