//! Heartbeats of agents: a prompt in a queue every few minutes, on a grid that begins when the service last changed.
//!
//! Nothing of them is recorded: an instant that passes while no server runs is gone, and the item's id is derived
//! from the agent and the instant, so that it is in the queue once. A room's own service beats whether or not the room
//! runs, and opens it; a project's service beats in the rooms that run.

use crate::control::Outcome;
use crate::domain::service::Service;
use crate::id::{RoomId, ServiceId};
use crate::projection::World;
use crate::spec::{Agent, Heartbeat};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// One heartbeat that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    pub room: RoomId,
    pub service: ServiceId,
    pub agent: String,
    pub at: DateTime<Utc>,
    pub queue: String,
    heartbeat: Heartbeat,
}

impl Beat {
    /// Id of its item: the same on every server.
    #[must_use]
    pub fn item(&self) -> Uuid {
        let text = format!("heartbeat/{}/{}/{}", self.room, self.agent, self.at.timestamp_millis());
        Uuid::new_v5(&self.service.uuid(), text.as_bytes())
    }

    /// The item, as queue channels read it (REST reference §12).
    #[must_use]
    pub fn body(&self) -> String {
        let mut item = Map::new();
        if let Some(thread) = &self.heartbeat.thread_id {
            item.insert("path".into(), json!(fill(thread, self.at)));
        }
        item.insert("prompt".into(), json!(self.heartbeat.prompt));
        json!(item).to_string()
    }
}

/// Replaces the time tokens of a thread's name, in either case.
fn fill(text: &str, at: DateTime<Utc>) -> String {
    let tokens = [
        (["{year}", "{yyyy}"], at.format("%Y")),
        (["{month}", "{mm}"], at.format("%m")),
        (["{day}", "{dd}"], at.format("%d")),
        (["{hour}", "{hh}"], at.format("%H")),
    ];
    // `{MM}` is the month and `{mm}` the minute: told apart by their case alone.
    let text = text.replace("{mm}", &at.format("%M").to_string());
    let text = replace_any_case(&text, "{minute}", &at.format("%M").to_string());
    tokens.into_iter().fold(text, |text, (names, value)| {
        let value = value.to_string();
        names.into_iter().fold(text, |text, name| replace_any_case(&text, name, &value))
    })
}

fn replace_any_case(text: &str, token: &str, value: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut filled = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in lower.match_indices(token) {
        filled.push_str(text.get(from..at).unwrap_or_default());
        filled.push_str(value);
        from = at + token.len();
    }
    filled.push_str(text.get(from..).unwrap_or_default());
    filled
}

type Key = (RoomId, ServiceId, String);

/// What was sent, by agent. Forgotten with the server: it starts anew at the next instant.
#[derive(Debug, Default)]
pub struct Beats {
    /// Instants up to this one are dealt with.
    done: BTreeMap<Key, DateTime<Utc>>,
}

impl Beats {
    /// The heartbeats that are due, of each agent the newest. `outcome` learns when the next are.
    pub fn due(&mut self, world: &World, now: DateTime<Utc>, outcome: &mut Outcome) -> Vec<Beat> {
        let mut due = Vec::new();
        let mut kept = BTreeMap::new();
        for (id, service, room, agent, heartbeat) in wanted(world) {
            let key = (room, id, agent.name.clone());
            // One that is new to us begins now, and on the grid.
            let done = self.done.get(&key).copied().unwrap_or(now).max(service.updated_at);
            let period = TimeDelta::minutes(i64::from(heartbeat.minutes.max(1)));
            let newest = newest_on_grid(service.updated_at, period, now);
            outcome.due(newest + period);
            if newest > done {
                due.push(Beat {
                    room,
                    service: id,
                    agent: agent.name.clone(),
                    at: newest,
                    queue: heartbeat.queue.clone(),
                    heartbeat: heartbeat.clone(),
                });
            }
            kept.insert(key, done);
        }
        self.done = kept;
        due
    }

    /// Remembers that one was dealt with.
    pub fn done(&mut self, beat: &Beat) {
        self.done.insert((beat.room, beat.service, beat.agent.clone()), beat.at);
    }
}

/// The last instant of the grid that is not after `now`; the anchor itself is one, and never due.
fn newest_on_grid(anchor: DateTime<Utc>, period: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
    let passed = (now - anchor).num_milliseconds().max(0) / period.num_milliseconds().max(1);
    anchor + TimeDelta::milliseconds(passed.saturating_mul(period.num_milliseconds()))
}

/// Agents with a heartbeat, once per room they beat in.
fn wanted(world: &World) -> impl Iterator<Item = (ServiceId, &Service, RoomId, &Agent, &Heartbeat)> {
    let services = world.projects().flat_map(|(project, _)| world.services(project));
    let beats = |service: &Service| service.spec.enabled && service.paused_at.is_none();
    services.filter(move |(_, service)| beats(service)).flat_map(|(id, service)| {
        let beating =
            service.spec.agents().iter().filter_map(|agent| Some((agent, agent.heartbeat.as_ref()?)));
        let beating: Vec<(&Agent, &Heartbeat)> = beating.collect();
        let rooms = if beating.is_empty() { Vec::new() } else { rooms(world, id, service) };
        rooms.into_iter().flat_map(move |room| {
            beating.clone().into_iter().map(move |(agent, heartbeat)| (id, service, room, agent, heartbeat))
        })
    })
}

fn rooms(world: &World, id: ServiceId, service: &Service) -> Vec<RoomId> {
    if let Some(room) = service.room {
        let enabled = world.room(room).is_some_and(|room| room.enabled);
        return if enabled { vec![room] } else { vec![] };
    }
    world.sessions_of_all(id.project()).map(|(_, session)| session.room).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_names_are_filled_with_the_instant() {
        let at = DateTime::from_timestamp(1_767_259_923, 0).unwrap();
        assert_eq!(at.to_string(), "2026-01-01 09:32:03 UTC");
        let table = [
            ("daily/{year}{month}{day}", "daily/20260101"),
            ("{YYYY}-{MM}-{DD} {HH}:{mm}", "2026-01-01 09:32"),
            ("{Year}/{HOUR}.{Minute}", "2026/09.32"),
            ("plain {other}", "plain {other}"),
        ];
        for (text, filled) in table {
            assert_eq!(fill(text, at), filled);
        }
    }

    #[test]
    fn the_grid_begins_at_the_anchor() {
        let at = |seconds: i64| DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap();
        let newest = |now: i64| (newest_on_grid(at(0), TimeDelta::minutes(5), at(now)) - at(0)).num_seconds();
        assert_eq!([newest(0), newest(299), newest(300), newest(899), newest(-50)], [0, 0, 300, 600, 0]);
    }
}
