//! Keeps the house rules of ARCHITECTURE.md: arrows between layers, sizes, documents, fixtures, generated files.
//! Every rule here reads files and nothing else, so that this test is quick enough to run on every save.

#[path = "architecture/generated.rs"]
mod generated;
#[path = "architecture/layers.rs"]
mod layers;
#[path = "architecture/paperwork.rs"]
mod paperwork;
#[path = "architecture/sizes.rs"]
mod sizes;
#[path = "architecture/source.rs"]
mod source;
