//! `up --proxy-domain`: whose names routes may have.

use super::*;
use crate::cli::Person;

#[test]
fn routes_have_names_below_the_servers_domain_only() {
    let server = Server::start(&["--proxy-domain", "Apps.Example"]);
    let person = Person::of(&server);
    person.run(&["rooms", "create", "shop"]).ok();
    let create = |domain: &str| {
        person.run(&["route", "create", "-d", domain, "--room", "shop", "--content-path", "site"])
    };
    create("shop.apps.example").ok();
    for foreign in ["shop.example", "apps.example", "shop.apps.example.net", "notapps.example"] {
        create(foreign).fails(1, &["routes of this server are below `apps.example`", "NAME.apps.example"]);
    }
    let document = "version: v1\nkind: Route\nmetadata: {name: bank}\ndomain: bank.example\n\
                    backend: {room: {name: shop}}\npaths:\n- {path: /, targetContent: {subpath: site}}\n";
    person.file("bank.yaml", document);
    person.run(&["apply", "-f", "bank.yaml"]).fails(1, &["domain", "below `apps.example`"]);

    let wrong = person.run(&["up", "--proxy-domain", "no domain"]);
    wrong.fails(2, &["--proxy-domain", "apps.example.com"]);
}
