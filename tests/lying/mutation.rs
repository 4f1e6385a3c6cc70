//! What a lie does to a field.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use prost::Message;
use uplink_core::order::OrderLimit;
use uplink_core::signature::SigningKey;
use uplink_testnet::wire::{self, Field, Value};

use super::fields::{Kind, Pick, Place, Step};
use super::random::Random;

/// One lie about one field.
#[derive(Clone, Debug)]
pub(crate) struct Lie {
    pub(crate) place: Place,
    pub(crate) mutation: Mutation,
    /// Whether a changed order limit gets the satellite's signature.
    pub(crate) sign: bool,
    /// Whether it is told in every such answer, or in the first one alone.
    pub(crate) always: bool,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutation {
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
    /// As many copies of an element as fit into an answer.
    Many,
    /// As many empty elements as fit into an answer.
    ManyEmpty,
    /// The same field in an answer about another object.
    OtherObject,
    /// The same field in an answer about an earlier version of the object.
    OlderVersion,
}

/// Encoded answers by their names.
pub(crate) type Answers = HashMap<String, Vec<Bytes>>;

/// Answers about other objects than the one asked for.
#[derive(Debug)]
pub(crate) struct Donors {
    pub(crate) other_object: Answers,
    pub(crate) older_version: Answers,
}

/// Bytes of a huge value: more than any field needs, less than an answer may have.
const HUGE: usize = 300_000;
/// Bytes that a repeated field is filled up to: just below what an answer may have.
pub(crate) const FULL: usize = 4_100_000;

impl Mutation {
    /// Whether an answer becomes as large as it may be.
    pub(crate) fn fills(self) -> bool {
        matches!(self, Self::Many | Self::ManyEmpty)
    }
}

/// What can be done to a field.
pub(crate) fn mutations(place: &Place) -> Vec<Mutation> {
    use Mutation::*;
    let mut all = vec![Missing, Random, OtherObject, OlderVersion];
    match place.kind {
        Kind::Number(1) => all.extend([Zero, Max]),
        Kind::Number(_) => all.extend([Zero, MinusOne, Max, OneMore, OneLess]),
        Kind::Bytes | Kind::Address => all.extend([Zero, OneBit, Longer, Shorter, Huge]),
        Kind::Message => all.extend([Zero, Huge, Duplicated]),
    }
    if place.repeated {
        all.extend([Dropped, Reversed, Many, ManyEmpty]);
        if place.kind != Kind::Message {
            all.push(Duplicated);
        }
    }
    all
}

impl Lie {
    /// Tells the lie in an encoded answer. An answer without the field stays as it is where the lie
    /// needs one.
    pub(crate) fn tell(&self, answer: Bytes, donors: &Donors, key: &SigningKey) -> Bytes {
        if self.mutation.fills() && answer.len() > FULL / 2 {
            return answer;
        }
        let mut random = Random::new(self.seed);
        let from = match self.mutation {
            Mutation::OtherObject => &donors.other_object,
            _ => &donors.older_version,
        };
        let donor = from.get(&self.place.root).map(|answers| random.pick(answers).clone());
        let mut telling = Telling { lie: self, random, key };
        telling.at(answer.clone(), &self.place.steps, donor).unwrap_or(answer)
    }
}

/// A lie being told.
struct Telling<'a> {
    lie: &'a Lie,
    random: Random,
    key: &'a SigningKey,
}

impl Telling<'_> {
    /// Changes the field to which `steps` lead in `message`; `donor` is the same message of another
    /// answer.
    fn at(&mut self, message: Bytes, steps: &[Step], donor: Option<Bytes>) -> Option<Bytes> {
        let (step, rest) = steps.split_first()?;
        let mut fields = wire::decode(message)?;
        let theirs: Vec<Field> = donor.and_then(wire::decode).unwrap_or_default();
        let theirs = theirs.into_iter().filter(|field| field.number == step.number).collect();
        if rest.is_empty() {
            let element = match self.lie.mutation {
                Mutation::Many => picked(&fields, step).cloned(),
                Mutation::ManyEmpty => None,
                _ => {
                    self.mutate(&mut fields, step, theirs)?;
                    return Some(wire::encode(&fields));
                }
            };
            return Some(filled(&fields, step, element));
        }
        let donor = picked(&theirs, step).and_then(Field::as_bytes).cloned();
        let place = match place_of(&fields, step) {
            Some(place) => place,
            // Nothing is taken away from what is not there.
            None if self.lie.mutation == Mutation::Missing => return None,
            None => {
                fields.push(Field::bytes(step.number, Bytes::new()));
                fields.len() - 1
            }
        };
        let inner = fields[place].as_bytes()?.clone();
        let mut changed = self.at(inner, rest, donor)?;
        if step.is_limit && self.lie.sign {
            changed = signed(changed, self.key);
        }
        fields[place] = Field::bytes(step.number, changed);
        Some(wire::encode(&fields))
    }

    fn mutate(&mut self, fields: &mut Vec<Field>, step: &Step, theirs: Vec<Field>) -> Option<()> {
        let place = place_of(fields, step);
        match self.lie.mutation {
            Mutation::Missing => {
                place?;
                fields.retain(|field| field.number != step.number);
            }
            Mutation::Dropped => drop(fields.remove(place?)),
            Mutation::Reversed => reverse(fields, step.number),
            Mutation::Duplicated => {
                let place = place?;
                fields.insert(place, fields[place].clone());
            }
            Mutation::OtherObject | Mutation::OlderVersion if self.lie.place.repeated => {
                let theirs = picked(&theirs, step)?.clone();
                fields[place?] = theirs;
            }
            Mutation::OtherObject | Mutation::OlderVersion => {
                fields.retain(|field| field.number != step.number);
                fields.extend(theirs);
            }
            _ => {
                let new = self.value(place.map(|place| &fields[place].value))?;
                let new = Field::new(step.number, new);
                match place {
                    Some(place) => fields[place] = new,
                    None => fields.push(new),
                }
            }
        }
        Some(())
    }

    /// Another value in place of one.
    fn value(&mut self, now: Option<&Value>) -> Option<Value> {
        if let Kind::Number(max) = self.lie.place.kind {
            let now = match now {
                Some(Value::Varint(number)) => *number,
                _ => 0,
            };
            return Some(Value::Varint(match self.lie.mutation {
                Mutation::Zero => 0,
                Mutation::MinusOne => u64::MAX,
                Mutation::Max => max,
                Mutation::OneMore => now.wrapping_add(1),
                Mutation::OneLess => now.wrapping_sub(1),
                _ => self.random.next() >> self.random.below(64),
            }));
        }
        let mut bytes = match now {
            Some(Value::Bytes(bytes)) => bytes.to_vec(),
            _ => Vec::new(),
        };
        match self.lie.mutation {
            Mutation::Zero if self.lie.place.kind == Kind::Message => bytes.clear(),
            Mutation::Zero => bytes.fill(0),
            Mutation::OneBit => {
                let place = self.random.below(bytes.len());
                *bytes.get_mut(place)? ^= 1 << self.random.below(8);
            }
            Mutation::Longer => bytes.push(self.random.next() as u8 & 0x7F),
            Mutation::Shorter => drop(bytes.pop()?),
            Mutation::Huge => bytes = self.huge(),
            _ => bytes = self.random_bytes(bytes.len()),
        }
        Some(Value::Bytes(bytes.into()))
    }

    fn huge(&mut self) -> Vec<u8> {
        match self.lie.place.kind {
            // No name server is asked for a name without a port.
            Kind::Address => vec![b'a'; HUGE],
            // A field that no message has.
            Kind::Message => wire::encode(&[Field::bytes(9999, vec![0; HUGE])]).to_vec(),
            _ => self.random.bytes(HUGE),
        }
    }

    fn random_bytes(&mut self, length: usize) -> Vec<u8> {
        match self.lie.place.kind {
            // Another address of this machine.
            Kind::Address => {
                let [a, b, c] = [(); 3].map(|()| 1 + self.random.below(250));
                format!("127.{a}.{b}.{c}:{}", 1 + self.random.below(65_535)).into_bytes()
            }
            _ => self.random.bytes(length.max(1)),
        }
    }
}

/// Index of the field that a step means.
fn place_of(fields: &[Field], step: &Step) -> Option<usize> {
    let is_it = |field: &Field| field.number == step.number;
    match step.pick {
        Pick::First => fields.iter().position(is_it),
        Pick::Last => fields.iter().rposition(is_it),
    }
}

fn picked<'a>(fields: &'a [Field], step: &Step) -> Option<&'a Field> {
    place_of(fields, step).map(|place| &fields[place])
}

/// Turns the order of a repeated field round.
fn reverse(fields: &mut [Field], number: u32) {
    let places: Vec<usize> =
        (0..fields.len()).filter(|place| fields[*place].number == number).collect();
    for (from, to) in places.iter().zip(places.iter().rev()).take(places.len() / 2) {
        fields.swap(*from, *to);
    }
}

/// A message with as many elements more as fit into an answer. Encoded, because the elements would
/// take a lot of this process's memory, which is measured.
fn filled(fields: &[Field], step: &Step, element: Option<Field>) -> Bytes {
    let element = element.unwrap_or_else(|| Field::bytes(step.number, Bytes::new()));
    let element = wire::encode(&[element]);
    let mut message = wire::encode(fields).to_vec();
    let count = FULL.saturating_sub(message.len()) / element.len();
    message.extend(element.repeat(count));
    message.into()
}

/// An order limit with the satellite's signature, if it can be read.
fn signed(limit: Bytes, key: &SigningKey) -> Bytes {
    let Ok(mut typed) = OrderLimit::decode(limit.clone()) else { return limit };
    match typed.sign(key) {
        Ok(()) => typed.encode_to_vec().into(),
        Err(_) => limit,
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.place, self.mutation)?;
        if self.sign && self.place.is_in_limit() {
            f.write_str(" signed")?;
        }
        f.write_str(if self.always { " in every answer" } else { " in the first answer" })?;
        write!(f, ", seed {}", self.seed)
    }
}

/// Gives the first storage node of an answer an address at which nothing listens.
pub(crate) fn unreachable_first(answer: Bytes) -> Bytes {
    let nowhere = Field::bytes(2, wire::encode(&[Field::bytes(2, "127.255.255.254:1")]));
    let mut fields = wire::decode(answer).expect("the satellite's own answer");
    if let Some(first) = fields.iter_mut().find(|field| field.number == 2) {
        let mut limit = wire::decode(first.as_bytes().expect("a limit").clone()).expect("a limit");
        limit.retain(|field| field.number != 2);
        limit.push(nowhere);
        *first = Field::bytes(2, wire::encode(&limit));
    }
    wire::encode(&fields)
}
