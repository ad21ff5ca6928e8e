"""The Python SDK's `RoomClient.containers`, and its port forwarding, against the server under test with an engine:
`containers.py CASE`.

Reads what `room.py` reads, and MESHAGENT_TEST_IMAGE (an image with busybox), MESHAGENT_TEST_PROGRAM (busybox itself).
Prints one line per thing that holds and `done` at the end; any exception fails the run. Every wait has a deadline.
"""

import asyncio
import io
import os
import sys
import tarfile

from meshagent.api import ParticipantToken, RoomClient, RoomException, WebSocketClientProtocol
from meshagent.api.helpers import websocket_room_url
from meshagent.api.participant_token import ApiScope, TunnelsGrant
from meshagent.api.port_forward import port_forward
from meshagent.api.room_server_client import DockerSecret
from meshagent.api.specs.service import ContainerMountSpec, FileStorageMountSpec, RoomStorageMountSpec

ROOM = os.environ["MESHAGENT_ROOM"]
IMAGE = os.environ.get("MESHAGENT_TEST_IMAGE", "")
STEP_SECONDS = 120


def say(text: str) -> None:
    print(text, flush=True)


async def within(awaitable, what: str):
    try:
        return await asyncio.wait_for(awaitable, STEP_SECONDS)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {STEP_SECONDS} s") from None


def token() -> str:
    minted = ParticipantToken(name="ann")
    minted.add_role_grant("agent")
    minted.add_room_grant(ROOM)
    scope = ApiScope.agent_default()
    scope.tunnels = TunnelsGrant()
    minted.add_api_grant(scope)
    return minted.to_jwt(api_key=os.environ["MESHAGENT_API_KEY"])


def join(jwt: str) -> RoomClient:
    protocol = WebSocketClientProtocol(url=websocket_room_url(room_name=ROOM), token=jwt)
    return RoomClient(protocol_factory=protocol.create_factory())


async def text_of(stream) -> str:
    return "".join([part async for part in stream.logs()])


async def run_and_look(client: RoomClient) -> None:
    containers = client.containers
    assert await containers.list(all=True) == []
    mounts = ContainerMountSpec(
        room=[RoomStorageMountSpec(path="/data")], files=[FileStorageMountSpec(path="/etc/note", text="grüße")]
    )
    shell = "cat /etc/note; echo; echo $WHO > /data/who.txt; sleep 1000"
    container = await within(
        containers.run(
            image=IMAGE, command=f"sh -c '{shell}'", env={"WHO": "ann"}, name="worker", mounts=mounts,
            annotations={"team": "a"}, ports={8123: 0},
        ),
        "the start",
    )
    listed = await containers.list()
    assert [(c.id, c.name, c.state, c.started_by.name) for c in listed] == [(container, "worker", "RUNNING", "ann")]
    assert listed[0].ports[0].container_port == 8123 and listed[0].mounts.files[0].text == "grüße"
    say("a container runs and is listed as it was asked for")

    stream = containers.logs(container_id=container, follow=True)
    async for part in stream.logs():
        assert part.startswith("grüße"), part
        break
    await stream.cancel()

    async def until_written() -> None:
        while not await client.storage.exists(path="who.txt"):
            pass

    await within(until_written(), "the file")
    assert (await client.storage.download(path="who.txt")).data == b"ann\n"
    say("its log is followed, and the room's files are mounted")

    session = await containers.exec(container_id=container, command=["sh"], tty=True)
    await within(session.wait_for_ready(), "the terminal")
    await session.resize(width=99, height=33)
    await session.write(b"stty size; exit 6\n")
    written = b"".join([part async for part in session.stdout()])
    assert b"33 99" in written, written
    assert await within(session.result, "the shell's end") == 6
    session = await containers.exec(container_id=container, command="cat", tty=False)
    await session.write(b"through")
    await session.close_stdin()
    assert b"".join([part async for part in session.stdout()]) == b"through"
    assert await session.result == 0
    session = await containers.exec(container_id=container, command=["sleep", "1000"])
    await within(session.wait_for_ready(), "the program")
    await session.kill()
    assert await within(session.result, "the kill") == 137
    say("programs run in it, on a terminal and without")

    await within(containers.stop(container_id=container, force=True), "the stop")
    status = await within(containers.wait_for_exit_status(container_id=container), "the end")
    assert (status.exit_code, status.oom_killed) == (137, False), status
    assert await containers.wait_for_exit(container_id=container) == 137
    [listed] = await containers.list(all=True)
    assert (listed.state, listed.exit_status.exit_code) == ("EXITED", 137)
    await containers.delete(container_id=container)
    try:
        await containers.stop(container_id=container)
        raise AssertionError("a container that is gone was stopped")
    except RoomException as error:
        assert error.code == 6001, error
    say("it is stopped, waited for and deleted")


def context(dockerfile: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(os.environ["MESHAGENT_TEST_PROGRAM"], arcname="busybox")
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(dockerfile.encode())
        tar.addfile(info, io.BytesIO(dockerfile.encode()))
    return buffer.getvalue()


async def blocks(data: bytes):
    for at in range(0, len(data), 64 * 1024):
        yield data[at : at + 64 * 1024]


async def images(client: RoomClient) -> None:
    containers = client.containers
    tag = "local/python:1"
    data = context("FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nENV PATH=/bin\n")
    build = await within(
        containers.build(
            tags=[tag], mount_path="/context", context_path="/context", chunks=blocks(data), size=len(data),
            credentials=[DockerSecret(registry="registry.example", username="u", password="p")],
        ),
        "the build's begin",
    )
    stream = containers.get_build_logs(build_id=build)
    assert "COPY" in await within(text_of(stream), "the build's log")
    assert await stream == 0
    [job] = await containers.list_builds()
    assert (job.id, job.status, job.exit_code, job.tag) == (build, "succeeded", 0, tag), job
    assert job.published_images[0].tag == tag
    say("an image is built from a streamed context")

    listed = [image for image in await containers.list_images() if any(tag in ref for ref in image.references)]
    inspected = await containers.inspect_image(image_id=listed[0].id)
    assert inspected.image.id == listed[0].id and inspected.layers and inspected.content_size > 1000
    mount = ContainerMountSpec(room=[RoomStorageMountSpec(path="/w", subpath="images")])
    save = await containers.save_image(tag=tag, mounts=[mount], archive_path="/w/python.tar")
    log = await within(text_of(containers.logs(container_id=save, follow=True)), "the save's log")
    assert await containers.wait_for_exit(container_id=save) == 0, log
    await containers.delete_image(image=tag)
    imported = await within(containers.load(archive_path="/images/python.tar"), "the load")
    assert "python:1" in imported.resolved_ref, imported
    load = await containers.load_image(mounts=[mount], archive_path="/w/python.tar")
    assert await within(containers.wait_for_exit(container_id=load), "the load job") == 0
    await containers.delete_image(image=tag)
    say("it is inspected, saved, loaded and deleted")

    # Nobody listens there: what the SDK sends is understood, and the reason comes back.
    try:
        await within(containers.pull_image(tag="127.0.0.1:9/no/image:1"), "the pull")
        raise AssertionError("an image came from nowhere")
    except RoomException as error:
        assert error.code == 1008, error
    push = await containers.push_image(tag=IMAGE, credentials=[DockerSecret(username="u", password="p")])
    assert await within(containers.wait_for_exit(container_id=push), "the push") == 1
    assert await within(text_of(containers.logs(container_id=push)), "the push's log") != ""
    await containers.cancel_build(build_id=build)
    await containers.delete_build(build_id=build)
    assert await containers.list_builds() == []
    say("pull and push tell why they failed; a build is forgotten")


async def tunnel(client: RoomClient, jwt: str) -> None:
    command = "nc -ll -p 7000 -e cat"
    container = await within(client.containers.run(image=IMAGE, command=command, name="echo"), "the start")
    handle = await port_forward(container_id=container, port=7000, token=jwt)

    async def echoed() -> bytes:
        reader, writer = await asyncio.open_connection(handle.host, handle.port)
        writer.write(b"through the tunnel")
        await writer.drain()
        try:
            return await reader.read(100)
        finally:
            writer.close()

    async def until_it_listens() -> None:
        while await echoed() != b"through the tunnel":
            pass

    await within(until_it_listens(), "the echo")
    await handle.close()
    await client.containers.delete(container_id=container)
    say("a port of a container is forwarded")


async def everything() -> None:
    jwt = token()
    async with join(jwt) as client:
        await run_and_look(client)
        await images(client)
        await tunnel(client, jwt)


async def services() -> None:
    """A service on demand, made by the caller, called `job`."""
    async with join(token()) as client:
        container = await within(client.containers.run_service(service_id="job", env={"WHO": "ann"}), "the start")
        assert await within(client.containers.wait_for_exit(container_id=container), "its end") == 4
        assert await within(text_of(client.containers.logs(container_id=container)), "its log") == "ann\n"
        say("a service on demand runs")


async def missing() -> None:
    async with join(token()) as client:
        assert await client.containers.list() == []
        assert await client.containers.list_images() == []
        assert await client.containers.list_builds() == []
        try:
            await client.containers.run(image="any:1")
            raise AssertionError("a container ran without an engine")
        except RoomException as error:
            assert error.code == 1007 and "install" in str(error), error
        session = await client.containers.exec(container_id="any")
        try:
            await within(session.result, "the refusal")
            raise AssertionError("a program ran without an engine")
        except RoomException as error:
            assert error.code == 1007, error
        say("without an engine each call says what to install")


CASES = {"everything": everything, "services": services, "missing": missing}

if __name__ == "__main__":
    asyncio.run(CASES[sys.argv[1]]())
    say("done")
