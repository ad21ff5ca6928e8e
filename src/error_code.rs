//! Stable error codes. A text code names one page in `docs/errors/`; the numbers are the room protocol's.

use serde::{Deserialize, Serialize};

/// Numeric codes of error contents on the room socket (room protocol §2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u16)]
pub enum RoomCode {
    PermissionDenied = 1001,
    InvalidRequest = 1002,
    NotFound = 1003,
    AlreadyExists = 1004,
    Conflict = 1005,
    InvalidState = 1006,
    DependencyMissing = 1007,
    OperationFailed = 1008,
    Timeout = 1009,
    MemoryNotFound = 2001,
    MemoryAlreadyExists = 2002,
    StorageNotFound = 3001,
    StorageRecursiveRequired = 3002,
    StorageInvalidHandle = 3003,
    StorageInvalidPath = 3004,
    StorageAlreadyExists = 3005,
    QueueNotFound = 5001,
    QueueAlreadyExists = 5002,
    ContainerNotFound = 6001,
    ServiceNotFound = 7001,
    ServiceRestartNotAllowed = 7002,
    ServiceAlreadyExists = 7003,
}

impl RoomCode {
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}
