# Recipes for daily work. `just` alone lists them.

_default:
    @just --list

# format every file
fmt:
    cargo fmt

# formatting and lints, with warnings refused
lint:
    cargo fmt --check
    cargo clippy --lib --bins --locked -- -D warnings

# the test command of the README
test *ARGS:
    ./scripts/test {{ARGS}}

# the quick tests: units and the house rules
quick:
    cargo test --locked --lib --test architecture

# licences, bans, advisories and sources of the dependencies
deny:
    cargo deny check

# what must pass before a merge
ci: lint deny
    ./.ci/run

# throughput and latency figures for docs/performance.md
bench *ARGS:
    cargo run --release --locked -- bench {{ARGS}}

# write schemas/ anew from the types
schemas:
    UPDATE_SCHEMAS=1 cargo test --locked --quiet --test architecture --test it schemas
