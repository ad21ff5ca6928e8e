"""Members of a project with the official SDK: added, listed, changed, asked about, removed; and a person who acts by a token."""

import asyncio
import os

from meshagent.api import RoomException
from meshagent.api.client import AccessResource, AccessSubject, Meshagent

from scaffold import say

PROJECT = os.environ["MESHAGENT_PROJECT_ID"]
ANN = "ann@example.com"


async def members(account: Meshagent) -> None:
    assert (await account.add_user_to_project(PROJECT, ANN, ["admin"]))["ok"] is True
    assert (await account.add_user_to_project(PROJECT, "bob@example.com", ["room_creator"]))["ok"] is True
    page = await account.get_users_in_project_page(PROJECT, page_size=1)
    assert [member.user.email for member in page.users] == [ANN] and page.continuation_token
    rest = await account.get_users_in_project_page(PROJECT, page_size=1, continuation_token=page.continuation_token)
    assert rest.users[0].direct_roles == ["member", "room_creator"] and rest.continuation_token is None
    found = await account.get_users_in_project_page(PROJECT, filter="BOB")
    assert len(found.users) == 1
    assert (await account.update_project_user(PROJECT, "bob@example.com", roles=["developer"]))["ok"] is True
    # The key of the first start is the operator's, and takes the last manager away.
    await account.remove_user_from_project(PROJECT, ANN)
    await account.add_user_to_project(PROJECT, ANN, ["admin"])
    for refused in (
        account.update_project_user(PROJECT, "eve@example.com", roles=["member"]),
        account.add_user_to_project(PROJECT, ANN, ["owner"]),
    ):
        try:
            await refused
        except RoomException:
            continue
        raise AssertionError("this is refused")


async def questions(account: Meshagent) -> None:
    project = AccessResource(type="project", id=PROJECT)
    bob = AccessSubject(type="user", id="bob@example.com")
    asked = await account.test_access(project_id=PROJECT, subject=bob, resource=project, relation="room_creator")
    assert asked.allowed
    summary = await account.get_effective_access(
        project_id=PROJECT, subject=bob, resource=project, relations=["admin", "service_creator"]
    )
    assert summary.capabilities == {"admin": False, "service_creator": True}, summary
    assert "feed_manager" in summary.effective_roles
    grants = await account.list_access_bindings(project_id=PROJECT, subject=bob)
    assert [grant.resource.type for grant in grants] == ["project"]
    policy = await account.get_resource_policy(project_id=PROJECT, resource_type="project", resource_id=PROJECT)
    assert {grant.subject.id for grant in policy} == {ANN, "bob@example.com"}


async def person(account: Meshagent) -> None:
    token = await account.mint_participant_token(PROJECT, email="bob@example.com")
    bob = Meshagent(base_url=os.environ["MESHAGENT_API_URL"], token=token)
    try:
        room = await bob.create_room(project_id=PROJECT, name="desk")
        assert room.name == "desk"
        connection = await bob.connect_room(project_id=PROJECT, room="desk")
        assert connection.jwt
        me = AccessSubject(type="user", id="me")
        project = AccessResource(type="project", id=PROJECT)
        asked = await bob.test_access(project_id=PROJECT, subject=me, resource=project, relation="admin")
        assert not asked.allowed
        try:
            await bob.add_user_to_project(PROJECT, "eve@example.com", ["admin"])
            raise AssertionError("a developer says not who is a member")
        except RoomException as error:
            assert "has not the role admin" in str(error), error
    finally:
        await bob.close()


async def main() -> None:
    account = Meshagent()
    try:
        await members(account)
        await questions(account)
        await person(account)
        await account.remove_user_from_project(PROJECT, "bob@example.com")
    finally:
        await account.close()
    say("done")


asyncio.run(main())
