//! The controllers over ports in memory: what they start, stop, end, open and fire.

mod feeds;
mod flaky;
mod pausing;
mod rig;
mod schedules;
mod services;
mod sessions;
mod subscriptions;
