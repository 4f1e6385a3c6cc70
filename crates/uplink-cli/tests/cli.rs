//! Tests of the built command: output, files and exit codes.

#[path = "cli/access.rs"]
mod access;
#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/descriptors.rs"]
mod descriptors;
#[path = "cli/dev.rs"]
mod dev;
#[path = "cli/dry_runs.rs"]
mod dry_runs;
#[path = "cli/filters.rs"]
mod filters;
#[path = "cli/home.rs"]
mod home;
#[path = "cli/objects.rs"]
mod objects;
#[path = "cli/pending.rs"]
mod pending;
#[path = "cli/several.rs"]
mod several;
#[path = "cli/shares.rs"]
mod shares;
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/sources.rs"]
mod sources;
#[path = "cli/targets.rs"]
mod targets;
#[path = "cli/trees.rs"]
mod trees;
#[path = "cli/world.rs"]
mod world;
