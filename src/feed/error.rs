//! Why messages are not taken, or not told.

use super::schema::CHECK_SECONDS_MAX;
use super::{
    MESSAGE_BYTES_MAX, PROJECT_BYTES_MAX, PUBLISH_MESSAGES_MAX, WAITING_BYTES_MAX, WAITING_MESSAGES_MAX,
};
use crate::store::StoreError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum FeedError {
    #[error("the feed `{feed}` is paused; resume it with `meshagent feed update FEED --resume`")]
    Paused { feed: String },
    #[error("message {at} does not fit the feed's schema: {why}; nothing was published")]
    Mismatch { at: usize, why: String },
    #[error("message {at} has more than {MESSAGE_BYTES_MAX} bytes; nothing was published")]
    Long { at: usize },
    #[error("the body is not as wanted: {0}; nothing was published")]
    NotJson(String),
    #[error("{count} messages are too many at once; send at most {PUBLISH_MESSAGES_MAX}")]
    Many { count: usize },
    #[error(
        "the feed `{feed}` has {WAITING_MESSAGES_MAX} messages or {WAITING_BYTES_MAX} bytes that its subscriptions did not take yet; look at `meshagent subscription list --feed-id FEED`, and try again later"
    )]
    Full { feed: String },
    #[error(
        "the feeds of the project have {PROJECT_BYTES_MAX} bytes that their subscriptions did not take yet, whichever feed that is; look at `meshagent subscription list --feed-id FEED` for each, and try again later"
    )]
    ProjectFull,
    #[error("the project publishes too much at once; try again in a moment")]
    Busy,
    #[error(
        "the check took longer than {CHECK_SECONDS_MAX} s; publish less at once, or simplify the feed's schema"
    )]
    Slow,
    #[error("the check of the messages broke off; nothing was published, try again")]
    Unchecked,
    #[error("the feed's schema cannot be used: {0}; set another with `meshagent feed update`")]
    Schema(String),
    #[error("messages of feeds cannot be kept or read now: {0}")]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for FeedError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}
