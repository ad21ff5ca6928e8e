//! Packets. One WebSocket binary message is one packet; packet 0 names the message, packets 1..=N carry it.
//!
//! ```text
//! packet 0 : u64 message id | u32 0 | u32 number of data packets | type, UTF-8
//! packet k : u64 message id | u32 k | payload bytes
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// Largest payload a receiver re-assembles, bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest message type, bytes.
pub const TYPE_BYTES_MAX: usize = 512;
/// Largest data packet we send, payload bytes. The clients read WebSocket messages up to 4 MiB.
pub const SEND_PACKET_BYTES_MAX: usize = 1024 * 1024;
/// Data bytes per packet that the clients send; the count in packet 0 may promise no more packets than
/// [`MESSAGE_BYTES_MAX`] would need at this size.
pub const CLIENT_PACKET_BYTES: usize = 1024;

const ID_BYTES: usize = 8;
const NUMBER_BYTES: usize = 4;
const DATA_HEADER_BYTES: usize = ID_BYTES + NUMBER_BYTES;
const FIRST_HEADER_BYTES: usize = DATA_HEADER_BYTES + NUMBER_BYTES;

/// One whole message, re-assembled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u64,
    pub kind: String,
    pub payload: Bytes,
}

/// Why a packet cannot be taken. The connection may go on: the next packet 0 starts afresh.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("packet of {0} bytes is shorter than its header")]
    Truncated(usize),
    #[error("message type is not UTF-8 or longer than {TYPE_BYTES_MAX} bytes")]
    BadType,
    #[error("message {id} is larger than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge { id: u64 },
    #[error("packet {got} of message {id} came where packet {want} was due; messages may not be interleaved")]
    OutOfOrder { id: u64, got: u32, want: u32 },
    #[error("packet {number} of message {id} belongs to no message that was begun")]
    NotBegun { id: u64, number: u32 },
}

impl FrameError {
    /// The message that was lost, where it is known.
    #[must_use]
    pub fn message_id(&self) -> Option<u64> {
        match *self {
            Self::Truncated(_) | Self::BadType => None,
            Self::TooLarge { id } | Self::OutOfOrder { id, .. } | Self::NotBegun { id, .. } => Some(id),
        }
    }
}

/// Re-assembles messages from packets in arrival order.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: Option<Partial>,
    /// Data packets of this message are dropped silently after its error was reported once.
    failed: Option<u64>,
}

#[derive(Debug)]
struct Partial {
    id: u64,
    kind: String,
    total: u32,
    next: u32,
    data: BytesMut,
}

impl Assembler {
    /// Takes one packet. `Some` when it completes a message.
    pub fn push(&mut self, packet: &Bytes) -> Result<Option<Message>, FrameError> {
        let (Some(id), Some(number)) = (read_u64(packet, 0), read_u32(packet, ID_BYTES)) else {
            return Err(FrameError::Truncated(packet.len()));
        };
        if number == 0 { self.begin(id, packet) } else { self.proceed(id, number, packet) }
    }

    fn begin(&mut self, id: u64, packet: &Bytes) -> Result<Option<Message>, FrameError> {
        let interrupted = self.partial.take();
        self.failed = None;
        let total = read_u32(packet, DATA_HEADER_BYTES).ok_or(FrameError::Truncated(packet.len()))?;
        let kind = packet.get(FIRST_HEADER_BYTES..).unwrap_or_default();
        let kind = std::str::from_utf8(kind)
            .ok()
            .filter(|k| k.len() <= TYPE_BYTES_MAX)
            .ok_or(FrameError::BadType)?
            .to_owned();
        if total as usize > MESSAGE_BYTES_MAX / CLIENT_PACKET_BYTES {
            self.failed = Some(id);
            return Err(FrameError::TooLarge { id });
        }
        let done = total == 0;
        if done {
            if let Some(old) = interrupted {
                return Err(FrameError::OutOfOrder { id: old.id, got: 0, want: old.next });
            }
            return Ok(Some(Message { id, kind, payload: Bytes::new() }));
        }
        self.partial = Some(Partial { id, kind, total, next: 1, data: BytesMut::new() });
        match interrupted {
            Some(old) => Err(FrameError::OutOfOrder { id: old.id, got: 0, want: old.next }),
            None => Ok(None),
        }
    }

    fn proceed(&mut self, id: u64, number: u32, packet: &Bytes) -> Result<Option<Message>, FrameError> {
        let Some(partial) = self.partial.as_mut() else {
            if self.failed == Some(id) {
                return Ok(None);
            }
            self.failed = Some(id);
            return Err(FrameError::NotBegun { id, number });
        };
        if partial.id != id || partial.next != number {
            let error = FrameError::OutOfOrder { id: partial.id, got: number, want: partial.next };
            self.failed = Some(partial.id);
            self.partial = None;
            return Err(error);
        }
        let data = packet.slice(DATA_HEADER_BYTES..);
        if partial.data.len() + data.len() > MESSAGE_BYTES_MAX {
            self.failed = Some(id);
            self.partial = None;
            return Err(FrameError::TooLarge { id });
        }
        // The common case, one data packet, copies nothing.
        if partial.total == 1 {
            let kind = std::mem::take(&mut partial.kind);
            self.partial = None;
            return Ok(Some(Message { id, kind, payload: data }));
        }
        partial.data.extend_from_slice(&data);
        partial.next += 1;
        if number < partial.total {
            return Ok(None);
        }
        let whole = self.partial.take();
        Ok(whole.map(|p| Message { id, kind: p.kind, payload: p.data.freeze() }))
    }
}

/// Cuts one message into the packets to send, in order. The caller sends them back to back.
///
/// Data packets hold up to [`SEND_PACKET_BYTES_MAX`] bytes: receivers count packets, not bytes.
#[must_use]
pub fn encode(id: u64, kind: &str, payload: &Bytes) -> Vec<Bytes> {
    let total = payload.len().div_ceil(SEND_PACKET_BYTES_MAX);
    let mut packets = Vec::with_capacity(total + 1);
    let mut first = BytesMut::with_capacity(FIRST_HEADER_BYTES + kind.len());
    first.put_u64(id);
    first.put_u32(0);
    first.put_u32(u32::try_from(total).unwrap_or(u32::MAX));
    first.put_slice(kind.as_bytes());
    packets.push(first.freeze());
    for (index, chunk) in payload.chunks(SEND_PACKET_BYTES_MAX).enumerate() {
        let mut packet = BytesMut::with_capacity(DATA_HEADER_BYTES + chunk.len());
        packet.put_u64(id);
        packet.put_u32(u32::try_from(index + 1).unwrap_or(u32::MAX));
        packet.put_slice(chunk);
        packets.push(packet.freeze());
    }
    packets
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Bytes {
        hex::decode(text).unwrap().into()
    }

    fn client_packets(id: u64, kind: &str, payload: &[u8]) -> Vec<Bytes> {
        let chunks: Vec<_> = payload.chunks(CLIENT_PACKET_BYTES).collect();
        let mut first = BytesMut::new();
        first.put_u64(id);
        first.put_u32(0);
        first.put_u32(chunks.len() as u32);
        first.put_slice(kind.as_bytes());
        let mut all = vec![first.freeze()];
        for (k, chunk) in chunks.iter().enumerate() {
            let mut p = BytesMut::new();
            p.put_u64(id);
            p.put_u32(k as u32 + 1);
            p.put_slice(chunk);
            all.push(p.freeze());
        }
        all
    }

    #[test]
    fn the_reference_vectors_decode() {
        let mut a = Assembler::default();
        assert_eq!(
            a.push(&hex("00000000000000010000000000000001726f6f6d2e6c6973745f746f6f6c6b697473")),
            Ok(None)
        );
        let message = a
            .push(&hex("00000000000000010000000100000000000000277b225f5f6d6573686167656e745f5f223a207b2276223a20312c20226f74656c223a207b7d7d7d"))
            .unwrap()
            .unwrap();
        assert_eq!((message.id, message.kind.as_str()), (1, "room.list_toolkits"));
        let (header, rest) = crate::wire::unpack(&message.payload).unwrap();
        assert!(header.is_empty() && rest.is_empty(), "`__meshagent__` is stripped");

        let empty = a.push(&hex("0000000000000009000000000000000078")).unwrap().unwrap();
        assert_eq!((empty.id, empty.kind.as_str(), empty.payload.len()), (9, "x", 0));
    }

    #[test]
    fn encoding_gives_the_reference_bytes() {
        assert_eq!(encode(9, "x", &Bytes::new()), vec![hex("0000000000000009000000000000000078")]);
        let kilobyte = Bytes::from(vec![b'a'; 1024]);
        let packets = encode(9, "x", &kilobyte);
        assert_eq!(packets[0], hex("0000000000000009000000000000000178"));
        assert_eq!(packets[1].slice(..12), hex("000000000000000900000001"));
        assert_eq!(packets[1].len(), 1036);
    }

    #[test]
    fn an_interleaved_message_is_named_and_the_next_one_is_read() {
        let mut a = Assembler::default();
        let one = client_packets(1, "a", &[7; 3000]);
        a.push(&one[0]).unwrap();
        a.push(&one[1]).unwrap();
        let error = a.push(&one[3]).unwrap_err();
        assert_eq!(error, FrameError::OutOfOrder { id: 1, got: 3, want: 2 });
        assert_eq!(a.push(&one[2]), Ok(None), "the rest of a failed message is dropped");
        let next = client_packets(2, "b", b"fine");
        a.push(&next[0]).unwrap();
        assert_eq!(a.push(&next[1]).unwrap().unwrap().payload, Bytes::from_static(b"fine"));
    }

    #[test]
    fn a_message_begun_inside_another_reports_the_lost_one() {
        let mut a = Assembler::default();
        a.push(&client_packets(1, "a", &[7; 3000])[0]).unwrap();
        let two = client_packets(2, "b", b"x");
        assert_eq!(a.push(&two[0]), Err(FrameError::OutOfOrder { id: 1, got: 0, want: 1 }));
        assert_eq!(a.push(&two[1]).unwrap().unwrap().id, 2);
    }

    #[test]
    fn a_promise_of_too_many_packets_is_refused_before_any_memory_is_taken() {
        let mut a = Assembler::default();
        let huge = hex("0000000000000001000000000fffffff78");
        assert_eq!(a.push(&huge), Err(FrameError::TooLarge { id: 1 }));
        assert_eq!(a.push(&hex("00000000000000010000000161")), Ok(None));
    }

    proptest! {
        #[test]
        fn any_payload_survives_either_packet_size(
            id: u64,
            kind in "[a-z_.]{1,40}",
            payload in proptest::collection::vec(any::<u8>(), 0..5000),
        ) {
            let want = Message { id, kind: kind.clone(), payload: Bytes::from(payload.clone()) };
            for packets in [client_packets(id, &kind, &payload), encode(id, &kind, &want.payload)] {
                let mut a = Assembler::default();
                let last = packets.len() - 1;
                for (i, packet) in packets.iter().enumerate() {
                    let got = a.push(packet).unwrap();
                    prop_assert_eq!(got.as_ref(), (i == last).then_some(&want));
                }
            }
        }

        #[test]
        fn arbitrary_packets_never_panic(packets in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..64), 0..50)) {
            let mut a = Assembler::default();
            for packet in packets {
                let _ = a.push(&Bytes::from(packet));
            }
        }
    }
}
