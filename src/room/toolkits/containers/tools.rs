//! The tools as `room.list_toolkits` shows them.

use super::args;
use crate::room::toolkit::{Takes, ToolInfo};

pub(super) fn all() -> Vec<ToolInfo> {
    let (json, none) = (["json"], ["empty"]);
    let stream = |name, text| ToolInfo::stream(name, Takes::Stream, text);
    vec![
        ToolInfo::unary::<args::List>("list_containers", &json, "Lists the room's containers."),
        ToolInfo::unary::<args::Run>("run", &json, "Starts a container; answers its id."),
        ToolInfo::unary::<args::RunService>("run_service", &json, "Starts the container of a service."),
        ToolInfo::unary::<args::Stop>("stop_container", &none, "Ends a container; it stays in the list."),
        ToolInfo::unary::<args::OneContainer>("delete_container", &none, "Ends and removes a container."),
        ToolInfo::unary::<args::OneContainer>("wait_for_exit", &json, "Answers when a container has ended.")
            .waiting(),
        stream("logs", "Shows what a container wrote, and with `follow` what it writes."),
        stream("exec", "Runs a program in a running container, on a terminal if asked."),
        ToolInfo::unary::<args::Nothing>("list_images", &json, "Lists the images the room may run."),
        ToolInfo::unary::<args::InspectImage>("inspect_image", &json, "Tells what an image is made of."),
        ToolInfo::unary::<args::DeleteImage>("delete_image", &none, "Removes an image the room brought."),
        ToolInfo::unary::<args::Pull>("pull_image", &none, "Fetches an image from its registry."),
        ToolInfo::unary::<args::Push>("push_image", &json, "Sends an image to its registry, as a job."),
        ToolInfo::unary::<args::Load>("load", &json, "Takes images in from an archive in room storage."),
        ToolInfo::unary::<args::LoadImage>("load_image", &json, "Takes images in from an archive, as a job."),
        ToolInfo::unary::<args::SaveImage>("save_image", &json, "Writes an image as an archive, as a job."),
        stream("build", "Builds an image from a streamed context."),
        ToolInfo::unary::<args::Nothing>("list_builds", &json, "Lists the room's builds."),
        ToolInfo::unary::<args::OneBuild>("cancel_build", &none, "Ends a build."),
        ToolInfo::unary::<args::OneBuild>("delete_build", &none, "Ends and forgets a build."),
        stream("get_build_logs", "Shows what a build said, and with `follow` what it says."),
    ]
}
