//! The `containers` toolkit and tunnels, on a real Podman with an image made from nothing.

mod exec;
mod images;
mod missing;
mod rig;
mod run;
mod services;
mod tunnel;
