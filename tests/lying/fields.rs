//! Every place in an answer where a lie can be told.

use std::fmt;

use prost_reflect::{FieldDescriptor, Kind as Type, MessageDescriptor};

use super::messages::{BATCH, message, within};

/// A field of an answer, however deep.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Name of the answer.
    pub(crate) root: String,
    /// The fields that lead to it, itself the last.
    pub(crate) steps: Vec<Step>,
    pub(crate) kind: Kind,
    pub(crate) repeated: bool,
}

/// One field on the way.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) number: u32,
    pub(crate) pick: Pick,
    /// Holds an order limit, which the satellite signs.
    pub(crate) is_limit: bool,
    /// Name of the message that it holds, if it holds one.
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

/// What a field holds, as far as lies differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number, and the largest one of its type.
    Number(u64),
    Bytes,
    /// `host:port` of a storage node.
    Address,
    Message,
}

/// Deepest nesting that is followed: deeper than any answer goes.
const DEPTH: usize = 9;
/// How often a message that holds others of its own kind is followed.
const NESTED: usize = 2;

/// All places in an answer. Of a batch only the outer ones, since its answers are their own roots.
pub(crate) fn places(root: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let depth = if root == BATCH { 2 } else { DEPTH };
    collect(root, &message(root), &[], depth, &mut places);
    places
}

fn collect(
    root: &str,
    message: &MessageDescriptor,
    above: &[Step],
    depth: usize,
    places: &mut Vec<Place>,
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
            let (root, kind) = (root.to_owned(), kind(&field));
            places.push(Place { root: root.clone(), steps: steps.clone(), kind, repeated });
            let inner = match field.kind() {
                Type::Message(inner) => inner,
                _ => match within(&field) {
                    Some(inner) => inner,
                    None => continue,
                },
            };
            let nested = steps.iter().filter(|step| step.message == inner.full_name()).count();
            if steps.len() < depth && nested <= NESTED {
                collect(&root, &inner, &steps, depth, places);
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
        other => panic!("no lie is known about {other:?}"),
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

impl Place {
    /// Whether the place lies in an order limit, so that the lie may be signed.
    pub(crate) fn is_in_limit(&self) -> bool {
        let above = &self.steps[..self.steps.len() - 1];
        above.iter().any(|step| step.is_limit)
    }
}

impl fmt::Display for Place {
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
