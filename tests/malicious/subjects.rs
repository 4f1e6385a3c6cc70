//! Objects under attack, by how they are made.

use uplink::{Config, Project};

use super::fixture::{Fixture, Shape};
use super::making::{Making, Then, Way};
use super::world::{World, known};

/// An object under attack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    making: Making,
    /// Segments of a stream. Of parts only the segment size is used.
    shape: Shape,
}

impl Subject {
    /// A stream, changed afterwards or not.
    pub(crate) const fn stream(shape: Shape, then: Then) -> Self {
        Self { making: Making::new(Way::Stream, then), shape }
    }

    /// An object in parts, changed afterwards or not.
    pub(crate) const fn parts(way: Way, then: Then) -> Self {
        Self { making: Making::new(way, then), shape: Shape::new(1, 0) }
    }

    /// Writes the object, and the objects served in its place, with our client.
    pub(crate) async fn create(self, world: &World) -> Fixture {
        let title = self.title();
        let known = known(&title, self.size());
        let config = Config::new().segment_size(self.shape.segment);
        let project = Project::open_with(&world.honest_access, &config).expect("a project");
        let write = async |key: &str, version| {
            self.making.write(world, &project, &known, key, version).await;
        };
        let fixture = Fixture::written(world, title, known.clone(), write).await;
        if self.making.way == Way::Stream {
            assert_eq!(fixture.b.segments.len() as u64, self.shape.count);
        }
        fixture
    }

    fn size(self) -> u64 {
        match self.making.way {
            Way::Stream => self.shape.size(),
            Way::Parts(parts) | Way::Receipts(parts) => parts.iter().map(|(_, size)| size).sum(),
        }
    }

    fn title(self) -> String {
        let written = match self.making.way {
            Way::Stream => format!("{} segments, last {}", self.shape.count, self.shape.last),
            Way::Parts(parts) => format!("parts {parts:?}"),
            Way::Receipts(parts) => format!("parts {parts:?} by receipts"),
        };
        match self.making.then {
            Then::Nothing => written,
            then => format!("{written}, {then:?}"),
        }
    }
}
