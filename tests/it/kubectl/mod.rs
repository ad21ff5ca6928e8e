//! `kubectl` itself, every version that this machine has, against the server.

mod access;
mod apply;
mod follow;
mod programs;
mod read;
