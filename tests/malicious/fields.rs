//! The paths of all fields of a response.

use std::fmt;

use prost_reflect::{FieldDescriptor, Kind as Type, MessageDescriptor};

use super::messages::{BATCH, message, within};

/// The path of a field in a response, at any depth.
#[derive(Clone, Debug)]
pub(crate) struct FieldPath {
    /// Name of the response.
    pub(crate) root: String,
    /// The fields from the response to the field, the field itself last.
    pub(crate) steps: Vec<Step>,
    pub(crate) kind: Kind,
    pub(crate) repeated: bool,
}

/// One field of a path.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) number: u32,
    pub(crate) pick: Pick,
    /// Whether it holds an order limit, which the satellite signs.
    pub(crate) is_limit: bool,
    /// Name of the message that it holds, or empty.
    message: String,
    name: String,
    repeated: bool,
}

/// Which element of a repeated field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    First,
    Last,
}

/// The type of a field, as far as mutations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number, with the maximum of its type.
    Number(u64),
    Bytes,
    /// `host:port` of a storage node.
    Address,
    Message,
}

/// Maximum depth of a path, deeper than any response.
const MAX_DEPTH: usize = 9;
/// Maximum nesting of a recursive message.
const MAX_RECURSION: usize = 2;

/// Returns the paths of all fields in a response. Of a batch only the outer ones: the responses in it
/// are roots of their own.
pub(crate) fn paths_in(root: &str) -> Vec<FieldPath> {
    let mut paths = Vec::new();
    let depth = if root == BATCH { 2 } else { MAX_DEPTH };
    collect(root, &message(root), &[], depth, &mut paths);
    paths
}

fn collect(
    root: &str,
    message: &MessageDescriptor,
    above: &[Step],
    depth: usize,
    paths: &mut Vec<FieldPath>,
) {
    for field in message.fields() {
        let picks: &[Pick] = if field.is_list() || field.is_map() {
            &[Pick::First, Pick::Last]
        } else {
            &[Pick::First]
        };
        for pick in picks {
            let steps = [above, &[Step::new(&field, *pick)]].concat();
            let repeated = picks.len() > 1;
            let root = root.to_owned();
            let kind = kind(&field);
            paths.push(FieldPath { root: root.clone(), steps: steps.clone(), kind, repeated });
            let inner = match field.kind() {
                Type::Message(inner) => inner,
                _ => match within(&field) {
                    Some(inner) => inner,
                    None => continue,
                },
            };
            let nested = steps.iter().filter(|step| step.message == inner.full_name()).count();
            if steps.len() < depth && nested <= MAX_RECURSION {
                collect(&root, &inner, &steps, depth, paths);
            }
        }
    }
}

fn kind(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Type::Message(_) => Kind::Message,
        Type::Bytes => Kind::Bytes,
        Type::String if field.full_name() == "node.NodeAddress.address" => Kind::Address,
        Type::String => Kind::Bytes,
        Type::Int64 => Kind::Number(i64::MAX as u64),
        Type::Uint64 => Kind::Number(u64::MAX),
        Type::Uint32 => Kind::Number(u32::MAX.into()),
        Type::Int32 | Type::Enum(_) => Kind::Number(i32::MAX as u64),
        Type::Bool => Kind::Number(1),
        other => panic!("no mutation defined for {other:?}"),
    }
}

impl Step {
    fn new(field: &FieldDescriptor, pick: Pick) -> Self {
        let kind = field.kind();
        let message = kind.as_message().map_or("", MessageDescriptor::full_name);
        Self {
            number: field.number(),
            pick,
            is_limit: message == "orders.OrderLimit",
            message: message.to_owned(),
            name: field.name().to_owned(),
            repeated: field.is_list() || field.is_map(),
        }
    }
}

impl FieldPath {
    /// Returns whether the field is in an order limit, so that the mutation can be signed.
    pub(crate) fn is_in_limit(&self) -> bool {
        let above = &self.steps[..self.steps.len() - 1];
        above.iter().any(|step| step.is_limit)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        for step in &self.steps {
            write!(f, ".{}", step.name)?;
            match (step.repeated, step.pick) {
                (true, Pick::First) => f.write_str("[first]")?,
                (true, Pick::Last) => f.write_str("[last]")?,
                _ => {}
            }
        }
        Ok(())
    }
}
