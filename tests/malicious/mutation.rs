//! Mutations of a field of a response.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use prost::Message;
use uplink_core::order::OrderLimit;
use uplink_core::signature::SigningKey;
use uplink_testnet::wire::{self, Field, Value};

use super::fields::{FieldPath, Kind, Pick, Step};
use super::random::Random;

/// One mutation of one field.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    pub(crate) path: FieldPath,
    pub(crate) kind: MutationKind,
    /// Whether a changed order limit gets the satellite's signature.
    pub(crate) sign: bool,
    /// Whether every response of the type is changed, or only the first.
    pub(crate) always: bool,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MutationKind {
    Missing,
    Zero,
    MinusOne,
    Max,
    OneMore,
    OneLess,
    Random,
    OneBit,
    Longer,
    Shorter,
    Huge,
    Duplicated,
    Reversed,
    Dropped,
    /// As many copies of an element as fit into a response.
    Many,
    /// As many empty elements as fit into a response.
    ManyEmpty,
    /// The same field of a response about another object.
    OtherObject,
    /// The same field of a response about an earlier version of the object.
    OlderVersion,
}

/// Encoded responses by type name.
pub(crate) type Answers = HashMap<String, Vec<Bytes>>;

/// Responses about objects other than the requested one.
#[derive(Debug)]
pub(crate) struct Donors {
    pub(crate) other_object: Answers,
    pub(crate) older_version: Answers,
}

/// Size of a huge value: more than any field needs, less than the maximum of a response.
const HUGE: usize = 300_000;
/// Size up to which a repeated field is filled: just below the maximum of a response.
pub(crate) const FULL: usize = 4_100_000;

impl MutationKind {
    /// Returns whether the response grows to its maximum size.
    pub(crate) fn fills_response(self) -> bool {
        matches!(self, Self::Many | Self::ManyEmpty)
    }
}

/// Returns the mutations that apply to a field.
pub(crate) fn kinds_for(path: &FieldPath) -> Vec<MutationKind> {
    use MutationKind::*;
    let mut all = vec![Missing, Random, OtherObject, OlderVersion];
    match path.kind {
        Kind::Number(1) => all.extend([Zero, Max]),
        Kind::Number(_) => all.extend([Zero, MinusOne, Max, OneMore, OneLess]),
        Kind::Bytes | Kind::Address => all.extend([Zero, OneBit, Longer, Shorter, Huge]),
        Kind::Message => all.extend([Zero, Huge, Duplicated]),
    }
    if path.repeated {
        all.extend([Dropped, Reversed, Many, ManyEmpty]);
        if path.kind != Kind::Message {
            all.push(Duplicated);
        }
    }
    all
}

impl Mutation {
    /// Applies the mutation to an encoded response. Returns the response unchanged if the mutation needs
    /// a field that is missing.
    pub(crate) fn apply(&self, answer: Bytes, donors: &Donors, key: &SigningKey) -> Bytes {
        if self.kind.fills_response() && answer.len() > FULL / 2 {
            return answer;
        }
        let mut random = Random::new(self.seed);
        let from = match self.kind {
            MutationKind::OtherObject => &donors.other_object,
            _ => &donors.older_version,
        };
        let donor = from.get(&self.path.root).map(|answers| random.pick(answers).clone());
        let mut mutator = Mutator { mutation: self, random, key };
        mutator.apply_at(answer.clone(), &self.path.steps, donor).unwrap_or(answer)
    }
}

/// A mutation being applied.
struct Mutator<'a> {
    mutation: &'a Mutation,
    random: Random,
    key: &'a SigningKey,
}

impl Mutator<'_> {
    /// Changes the field of `message` at `steps`; `donor` is the same message of another response.
    fn apply_at(&mut self, message: Bytes, steps: &[Step], donor: Option<Bytes>) -> Option<Bytes> {
        let (step, rest) = steps.split_first()?;
        let mut fields = wire::decode(message)?;
        let theirs: Vec<Field> = donor.and_then(wire::decode).unwrap_or_default();
        let theirs = theirs.into_iter().filter(|field| field.number == step.number).collect();
        if rest.is_empty() {
            let element = match self.mutation.kind {
                MutationKind::Many => picked(&fields, step).cloned(),
                MutationKind::ManyEmpty => None,
                _ => {
                    self.mutate(&mut fields, step, theirs)?;
                    return Some(wire::encode(&fields));
                }
            };
            return Some(filled(&fields, step, element));
        }
        let donor = picked(&theirs, step).and_then(Field::as_bytes).cloned();
        let index = match index_of(&fields, step) {
            Some(index) => index,
            // A missing parent has no field to remove.
            None if self.mutation.kind == MutationKind::Missing => return None,
            None => {
                fields.push(Field::bytes(step.number, Bytes::new()));
                fields.len() - 1
            }
        };
        let inner = fields[index].as_bytes()?.clone();
        let mut changed = self.apply_at(inner, rest, donor)?;
        if step.is_limit && self.mutation.sign {
            changed = signed(changed, self.key);
        }
        fields[index] = Field::bytes(step.number, changed);
        Some(wire::encode(&fields))
    }

    fn mutate(&mut self, fields: &mut Vec<Field>, step: &Step, theirs: Vec<Field>) -> Option<()> {
        let index = index_of(fields, step);
        match self.mutation.kind {
            MutationKind::Missing => {
                index?;
                fields.retain(|field| field.number != step.number);
            }
            MutationKind::Dropped => drop(fields.remove(index?)),
            MutationKind::Reversed => reverse(fields, step.number),
            MutationKind::Duplicated => {
                let index = index?;
                fields.insert(index, fields[index].clone());
            }
            MutationKind::OtherObject | MutationKind::OlderVersion
                if self.mutation.path.repeated =>
            {
                let theirs = picked(&theirs, step)?.clone();
                fields[index?] = theirs;
            }
            MutationKind::OtherObject | MutationKind::OlderVersion => {
                fields.retain(|field| field.number != step.number);
                fields.extend(theirs);
            }
            _ => {
                let new = self.value(index.map(|index| &fields[index].value))?;
                let new = Field::new(step.number, new);
                match index {
                    Some(index) => fields[index] = new,
                    None => fields.push(new),
                }
            }
        }
        Some(())
    }

    /// Returns the mutated value.
    fn value(&mut self, current: Option<&Value>) -> Option<Value> {
        if let Kind::Number(max) = self.mutation.path.kind {
            let current = match current {
                Some(Value::Varint(number)) => *number,
                _ => 0,
            };
            return Some(Value::Varint(match self.mutation.kind {
                MutationKind::Zero => 0,
                MutationKind::MinusOne => u64::MAX,
                MutationKind::Max => max,
                MutationKind::OneMore => current.wrapping_add(1),
                MutationKind::OneLess => current.wrapping_sub(1),
                _ => self.random.next() >> self.random.below(64),
            }));
        }
        let mut bytes = match current {
            Some(Value::Bytes(bytes)) => bytes.to_vec(),
            _ => Vec::new(),
        };
        match self.mutation.kind {
            MutationKind::Zero if self.mutation.path.kind == Kind::Message => bytes.clear(),
            MutationKind::Zero => bytes.fill(0),
            MutationKind::OneBit => {
                let index = self.random.below(bytes.len());
                *bytes.get_mut(index)? ^= 1 << self.random.below(8);
            }
            MutationKind::Longer => bytes.push(self.random.next() as u8 & 0x7F),
            MutationKind::Shorter => drop(bytes.pop()?),
            MutationKind::Huge => bytes = self.huge(),
            _ => bytes = self.random_bytes(bytes.len()),
        }
        Some(Value::Bytes(bytes.into()))
    }

    fn huge(&mut self) -> Vec<u8> {
        match self.mutation.path.kind {
            // A name without a port is rejected before a DNS lookup.
            Kind::Address => vec![b'a'; HUGE],
            // An unknown field.
            Kind::Message => wire::encode(&[Field::bytes(9999, vec![0; HUGE])]).to_vec(),
            _ => self.random.bytes(HUGE),
        }
    }

    fn random_bytes(&mut self, length: usize) -> Vec<u8> {
        match self.mutation.path.kind {
            // Another address of this machine.
            Kind::Address => {
                let [a, b, c] = [(); 3].map(|()| 1 + self.random.below(250));
                format!("127.{a}.{b}.{c}:{}", 1 + self.random.below(65_535)).into_bytes()
            }
            _ => self.random.bytes(length.max(1)),
        }
    }
}

/// Returns the index of the field that a step selects.
fn index_of(fields: &[Field], step: &Step) -> Option<usize> {
    let matches = |field: &Field| field.number == step.number;
    match step.pick {
        Pick::First => fields.iter().position(matches),
        Pick::Last => fields.iter().rposition(matches),
    }
}

fn picked<'a>(fields: &'a [Field], step: &Step) -> Option<&'a Field> {
    index_of(fields, step).map(|index| &fields[index])
}

/// Reverses the order of a repeated field.
fn reverse(fields: &mut [Field], number: u32) {
    let indices: Vec<usize> =
        (0..fields.len()).filter(|index| fields[*index].number == number).collect();
    for (from, to) in indices.iter().zip(indices.iter().rev()).take(indices.len() / 2) {
        fields.swap(*from, *to);
    }
}

/// Returns the message with as many copies of the element as fit into a response. Works on encoded
/// bytes: decoded elements would take much of this process's memory, which is measured.
fn filled(fields: &[Field], step: &Step, element: Option<Field>) -> Bytes {
    let element = element.unwrap_or_else(|| Field::bytes(step.number, Bytes::new()));
    let element = wire::encode(&[element]);
    let mut message = wire::encode(fields).to_vec();
    let count = FULL.saturating_sub(message.len()) / element.len();
    message.extend(element.repeat(count));
    message.into()
}

/// Signs an order limit with the satellite's key, if it can be decoded.
fn signed(limit: Bytes, key: &SigningKey) -> Bytes {
    let Ok(mut typed) = OrderLimit::decode(limit.clone()) else { return limit };
    match typed.sign(key) {
        Ok(()) => typed.encode_to_vec().into(),
        Err(_) => limit,
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.path, self.kind)?;
        if self.sign && self.path.is_in_limit() {
            f.write_str(" signed")?;
        }
        f.write_str(if self.always { " in every response" } else { " in the first response" })?;
        write!(f, ", seed {}", self.seed)
    }
}

/// Replaces the address of the first storage node of a response by one that refuses connections.
pub(crate) fn unreachable_first(answer: Bytes) -> Bytes {
    let nowhere = Field::bytes(2, wire::encode(&[Field::bytes(2, "127.255.255.254:1")]));
    let mut fields = wire::decode(answer).expect("a valid response");
    if let Some(first) = fields.iter_mut().find(|field| field.number == 2) {
        let mut limit = wire::decode(first.as_bytes().expect("a limit").clone()).expect("a limit");
        limit.retain(|field| field.number != 2);
        limit.push(nowhere);
        *first = Field::bytes(2, wire::encode(&limit));
    }
    wire::encode(&fields)
}
