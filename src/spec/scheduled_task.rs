//! `kind: ScheduledTask`: work put into a queue, or a container run, at set times.

use super::common::{Annotations, ScheduledTaskKind, Version, annotation, yes};
use super::container::Container;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Work at set times. Its room is not in the document: `--room` or `meshagent.room` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduledTask {
    #[serde(default)]
    pub version: Version,
    #[serde(default)]
    pub kind: ScheduledTaskKind,
    #[serde(default)]
    pub metadata: TaskMetadata,
    /// `15 minutes`, or a cron line such as `30 17 * * *` or `@daily`.
    pub schedule: String,
    /// `false` keeps it from firing.
    #[serde(default = "yes")]
    pub active: bool,
    /// Fire once, then become inactive.
    #[serde(default)]
    pub once: bool,
    /// Put an item into this queue. Exactly one of `queue` and `container`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueTarget>,
    /// Run this container. Exactly one of `queue` and `container`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
}

impl ScheduledTask {
    /// One annotation of the task.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        annotation(Some(&self.metadata.annotations), key)
    }

    /// IANA name of the time zone that a cron line is read in; UTC when nothing is written.
    pub fn timezone(&self) -> &str {
        self.annotation(SCHEDULE_TIMEZONE).unwrap_or("UTC")
    }
}

/// Annotation: IANA time zone of a cron line.
pub const SCHEDULE_TIMEZONE: &str = "meshagent.schedule.timezone";

/// Name and notes of a task; the name may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskMetadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default)]
    pub annotations: Annotations,
}

/// The queue a task fills.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueTarget {
    #[schemars(length(min = 1))]
    pub name: String,
    /// Put into the queue as it is.
    #[serde(default)]
    pub payload: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_write_path: Option<String>,
}
