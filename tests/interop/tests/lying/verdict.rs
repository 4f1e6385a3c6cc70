//! What came of the reads under attack, and whether the reference client does better.

use std::collections::{BTreeMap, BTreeSet};

use super::attacks;
use super::clients::Clients;
use super::expected::Expected;
use super::material::Material;
use super::reading::{Attack, Finding, Reader, TRUTH, Wrong};
use super::subject::Subject;
use super::table::envelopes::strip;
use super::taken::Taken;

/// What became of attacks that were not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The right bytes, if any, with a false size or without metadata, which are said to be claimed; as
    /// the reference client has it.
    Claim,
    /// The right bytes were read although the attack would be refused for a sealed object.
    Exact,
    /// Claim or limit in a form that the reference client does not understand: told in another form,
    /// the same makes it take the same for the object.
    Form,
    /// Wrong bytes that the reference client takes for the object too.
    Limit,
    /// Wrong bytes, then an error.
    Partial,
}

/// Attacks by the names that they have whatever the numbers in them, with what became of them.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    found: BTreeMap<(Outcome, String), BTreeMap<String, usize>>,
    broken: Vec<String>,
    attacks: usize,
    reads: usize,
}

impl Outcomes {
    /// Makes every attack on an object.
    pub(crate) async fn attack(&mut self, clients: &Clients, subject: &Subject) {
        self.make(clients, &subject.material, attacks::all(subject).await).await;
    }

    /// Makes these attacks on an object.
    pub(crate) async fn make(
        &mut self,
        clients: &Clients,
        material: &Material,
        attacks: Vec<Attack>,
    ) {
        let mut reader = Reader::new(&clients.world);
        let truth = material.attack(TRUTH, vec![material.b.clone()]);
        for attack in std::iter::once(truth).chain(attacks) {
            self.attacks += 1;
            for finding in reader.check(material, &attack).await {
                self.add(clients, material, &attack, finding).await;
            }
        }
        clients.world.satellite.tell_truth();
        self.reads += reader.reads();
    }

    async fn add(
        &mut self,
        clients: &Clients,
        material: &Material,
        attack: &Attack,
        found: Finding,
    ) {
        let outcome = match &found.wrong {
            Wrong::Accepted => Ok(Outcome::Exact),
            Wrong::Failed(what) => Err(what.clone()),
            Wrong::False(what) => {
                let outcome = compare(clients, material, attack, &found).await;
                outcome.map_err(|why| format!("{what}: {why}"))
            }
        };
        let Finding { attack, object, read, transport, .. } = found;
        match outcome {
            Ok(outcome) => {
                let kind = (outcome, without_numbers(&attack));
                *self.found.entry(kind).or_default().entry(object).or_default() += 1;
            }
            Err(why) => {
                self.broken.push(format!("{object}: {attack}: {read:?} over {transport:?}: {why}"));
            }
        }
    }

    /// Fails unless the attacks that were not refused are those of the set.
    pub(crate) fn finish(self, expected: Expected) {
        println!("{} reads under {} attacks", self.reads, self.attacks);
        for ((outcome, attack), objects) in &self.found {
            let reads: usize = objects.values().sum();
            println!("  {outcome:?}: {attack:?}: {reads} reads of {:?}", objects.keys());
        }
        for broken in &self.broken {
            println!("  {broken}");
        }
        let named = |outcome, names: &'static [&str]| {
            names.iter().map(move |name| (outcome, (*name).to_owned()))
        };
        let Expected { claim, exact, form, limit, partial } = expected;
        let expected: BTreeSet<_> = named(Outcome::Claim, claim)
            .chain(named(Outcome::Exact, exact))
            .chain(named(Outcome::Form, form))
            .chain(named(Outcome::Limit, limit))
            .chain(named(Outcome::Partial, partial))
            .collect();
        let found: BTreeSet<_> = self.found.into_keys().collect();
        let unexpected: Vec<_> = found.difference(&expected).collect();
        let refused: Vec<_> = expected.difference(&found).collect();
        assert!(self.broken.is_empty(), "{} reads broke a promise", self.broken.len());
        assert!(unexpected.is_empty(), "not refused: {unexpected:#?}");
        assert!(refused.is_empty(), "refused by now: {refused:#?}");
    }
}

/// The name of an attack with `#` for every number.
fn without_numbers(name: &str) -> String {
    let mut kind = String::new();
    for c in name.chars() {
        match c.is_ascii_digit() {
            true if kind.ends_with('#') => {}
            true => kind.push('#'),
            false => kind.push(c),
        }
    }
    kind.replace("-#", "#")
}

/// Reads after which a failure is not one of a busy machine.
const RETRIES: usize = 3;

/// Reads again with both clients, and says what to think of it when they agree.
async fn compare(
    clients: &Clients,
    material: &Material,
    attack: &Attack,
    found: &Finding,
) -> Result<Outcome, String> {
    let project = clients.world.project(found.transport.get());
    let mut ours = None;
    for _ in 0..RETRIES {
        attack.tell(&clients.world, material);
        ours = Taken::by_ours(&project, material, found.read).await.ok();
        if ours.is_some() {
            break;
        }
    }
    let Some(ours) = ours else { return Ok(Outcome::Partial) };
    attack.tell(&clients.world, material);
    let right = ours.is_right(material, found.read);
    let agreed = if right { Outcome::Claim } else { Outcome::Limit };
    let refused = match Taken::by_theirs(clients, material, found.read).await {
        Ok(theirs) if theirs == ours => return Ok(agreed),
        Ok(theirs) => return Err(format!("{ours:?} by ours, {theirs:?} by theirs")),
        Err(refused) => refused,
    };
    // A wrapped key alone, which is no envelope to our client, makes the other one fail.
    let other_form = attack.clone().retold(|story| {
        if story.object.encrypted_metadata.is_empty() {
            strip(story);
        }
    });
    other_form.tell(&clients.world, material);
    match Taken::by_theirs(clients, material, found.read).await {
        Ok(theirs) if theirs == ours => Ok(Outcome::Form),
        _ => Err(format!("{ours:?} by ours, refused by theirs: {refused}")),
    }
}
