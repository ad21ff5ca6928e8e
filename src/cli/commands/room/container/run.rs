//! `meshagent room container run`.

use crate::cli::args::key_value;
use crate::cli::commands::room::connect;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  meshagent room container run --room my-room --image python:3.13 \\\n      \
                        --mount-path /data --command 'python /data/report.py'"
)]
pub struct Args {
    #[command(flatten)]
    room: RoomArg,
    /// Image to run
    #[arg(long)]
    image: String,
    /// Command line, split as a shell would
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// Directory to start in, an absolute path
    #[arg(long, value_name = "DIR")]
    working_dir: Option<String>,
    /// A variable; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    env: Vec<(String, String)>,
    /// A port of the container, published on the server's loopback; may be given several times
    #[arg(short, long, value_name = "CONTAINER:HOST", value_parser = port)]
    port: Vec<(u16, u16)>,
    /// A registry's user, USER,PASSWORD or REGISTRY,USER,PASSWORD; may be given several times
    #[arg(long, value_name = "CREDENTIAL", value_parser = super::credential)]
    cred: Vec<Value>,
    /// Where the room's files are mounted
    #[arg(long, value_name = "DIR")]
    mount_path: Option<String>,
    /// Only this folder of them
    #[arg(long, value_name = "FOLDER", requires = "mount_path")]
    mount_subpath: Option<String>,
    /// Name of the participant that the container is
    #[arg(long, value_name = "NAME")]
    participant_name: Option<String>,
    /// Role of that participant
    #[arg(long, default_value = "user")]
    role: String,
    /// Name of the container
    #[arg(long, value_name = "NAME")]
    container_name: Option<String>,
    /// agent: room files at /data, a token and the addresses of the room; none: nothing
    #[arg(long, default_value = "none", value_parser = ["agent", "none"])]
    template: String,
    /// Let the container write outside its mounts
    #[arg(long)]
    writable_root_fs: bool,
    /// Only this participant may work inside
    #[arg(long)]
    private: bool,
}

fn port(text: &str) -> Result<(u16, u16), String> {
    let parsed =
        text.split_once(':').and_then(|(inner, outer)| Some((inner.parse().ok()?, outer.parse().ok()?)));
    parsed.ok_or_else(|| format!("want CONTAINER:HOST such as 8000:8000, not `{text}`"))
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let client = connect(ctx, args.room.name()?).await?;
    let env: Vec<Value> = args.env.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let ports = args.port.iter().map(|(inner, outer)| json!({"container_port": inner, "host_port": outer}));
    let fields = json!({
        "image": args.image,
        "command": args.command,
        "working_dir": args.working_dir,
        "env": env,
        "mount_path": args.mount_path,
        "mount_subpath": args.mount_subpath,
        "role": args.role,
        "participant_name": args.participant_name,
        "ports": ports.collect::<Vec<_>>(),
        "credentials": args.cred,
        "name": args.container_name,
        "annotations": null,
        "mounts": null,
        "template": args.template,
        "writable_root_fs": args.writable_root_fs,
        "private": args.private,
    });
    let id = client.containers().run(fields).await?;
    output::line(format!("Container started: {id}"))
}
