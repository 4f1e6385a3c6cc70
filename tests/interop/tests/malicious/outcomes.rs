//! Outcomes of reads under attack, compared with the reference client.

use std::collections::{BTreeMap, BTreeSet};

use super::attacks;
use super::clients::Clients;
use super::expected::Expected;
use super::fixture::Fixture;
use super::observed::Observed;
use super::reader::{Attack, Finding, Reader, TRUTH, Wrong};
use super::subject::Subject;
use super::table::envelopes::strip;

/// Outcome of an attack that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The right bytes, if any, with a wrong size or without metadata, marked as unauthenticated;
    /// the reference client returns the same.
    Claim,
    /// The right bytes, although the attack would be refused for a sealed object.
    Exact,
    /// Claim or limit in a form that the reference client rejects: in another form, it returns the
    /// same.
    Form,
    /// Wrong bytes that the reference client returns too.
    Limit,
    /// Wrong bytes, then an error.
    Partial,
}

/// Counts of outcomes by attack, with the numbers in its name masked.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    found: BTreeMap<(Outcome, String), BTreeMap<String, usize>>,
    broken: Vec<String>,
    attacks: usize,
    reads: usize,
}

impl Outcomes {
    /// Runs every attack on an object.
    pub(crate) async fn attack(&mut self, clients: &Clients, subject: &Subject) {
        self.run(clients, &subject.fixture, attacks::all(subject).await).await;
    }

    /// Runs these attacks on an object.
    pub(crate) async fn run(&mut self, clients: &Clients, fixture: &Fixture, attacks: Vec<Attack>) {
        let mut reader = Reader::new(&clients.world);
        let truth = fixture.attack(TRUTH, vec![fixture.b.clone()]);
        for attack in std::iter::once(truth).chain(attacks) {
            self.attacks += 1;
            for finding in reader.check(fixture, &attack).await {
                self.add(clients, fixture, &attack, finding).await;
            }
        }
        clients.world.satellite.pass_through();
        self.reads += reader.reads();
    }

    async fn add(&mut self, clients: &Clients, fixture: &Fixture, attack: &Attack, found: Finding) {
        let outcome = match &found.wrong {
            Wrong::Accepted => Ok(Outcome::Exact),
            Wrong::Failed(what) => Err(what.clone()),
            Wrong::False(what) => {
                let outcome = compare(clients, fixture, attack, &found).await;
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

    /// Fails unless the attacks that were not refused are the expected ones.
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
        assert!(self.broken.is_empty(), "{} reads violated a guarantee", self.broken.len());
        assert!(unexpected.is_empty(), "not refused: {unexpected:#?}");
        assert!(refused.is_empty(), "refused unexpectedly: {refused:#?}");
    }
}

/// Returns the name of an attack with `#` for every number.
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

/// Attempts after which a failed read is not caused by load.
const RETRIES: usize = 3;

/// Reads again with both clients and classifies the result.
async fn compare(
    clients: &Clients,
    fixture: &Fixture,
    attack: &Attack,
    found: &Finding,
) -> Result<Outcome, String> {
    let project = clients.world.project(found.transport.get());
    let mut ours = None;
    for _ in 0..RETRIES {
        attack.install(&clients.world, fixture);
        ours = Observed::by_ours(&project, fixture, found.read).await.ok();
        if ours.is_some() {
            break;
        }
    }
    let Some(ours) = ours else { return Ok(Outcome::Partial) };
    attack.install(&clients.world, fixture);
    let right = ours.is_right(fixture, found.read);
    let agreed = if right { Outcome::Claim } else { Outcome::Limit };
    let refused = match Observed::by_reference(clients, fixture, found.read).await {
        Ok(theirs) if theirs == ours => return Ok(agreed),
        Ok(theirs) => return Err(format!("{ours:?} by ours, {theirs:?} by theirs")),
        Err(refused) => refused,
    };
    // A wrapped key alone, which our client does not count as an envelope, makes the other one
    // fail.
    let other_form = attack.clone().with_edit(|forgery| {
        if forgery.object.encrypted_metadata.is_empty() {
            strip(forgery);
        }
    });
    other_form.install(&clients.world, fixture);
    match Observed::by_reference(clients, fixture, found.read).await {
        Ok(theirs) if theirs == ours => Ok(Outcome::Form),
        _ => Err(format!("{ours:?} by ours, refused by theirs: {refused}")),
    }
}
