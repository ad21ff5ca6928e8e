//! Why a run of a controller failed. It is logged and tried again; no user meets it.

use crate::lease::LeaseError;
use crate::queue::QueueError;
use crate::runtime::RuntimeError;

/// A failed run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    App(#[from] crate::app::Error),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Feed(#[from] crate::feed::FeedError),
    #[error("a file of a room cannot be written: {0}")]
    Blob(#[from] crate::blob::BlobError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("the controller `{0}` panicked; this is a defect, please report it with the lines before")]
    Panicked(&'static str),
    #[error("`{identity}` at {path} cannot be called into its room: {why}")]
    Call { identity: String, path: String, why: String },
}
