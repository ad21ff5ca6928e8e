//! The room protocol's wire form: packets, messages, contents. Pure: bytes in, values out.
//!
//! Used by the server's socket and by our own client alike; knows nothing of either, nor of any IO.
//! Source of the facts: room protocol §2 (framing) and §4 (contents).

pub mod content;
pub mod frame;
pub mod message;
pub mod trace;

pub use content::{Content, ContentError, Control};
pub use frame::{Assembler, FrameError, Message, encode};
pub use message::{MessageError, pack, pack_map, unpack, unpack_traced};
pub use trace::TraceContext;
