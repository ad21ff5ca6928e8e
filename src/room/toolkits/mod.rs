//! The toolkits that the server itself offers. Each knows its port and the call it was given, nothing of sockets;
//! grants were checked before it runs.

pub mod containers;
pub mod developer;
pub mod livekit;
pub mod memory;
pub mod messaging;
pub mod mounts;
pub mod queues;
pub mod secrets;
pub mod services;
pub mod storage;
pub mod sync;
