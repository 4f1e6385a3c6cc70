//! Redundancy schemes: how many pieces there are and how many are needed.

use std::fmt;
use std::str::FromStr;

/// The redundancy scheme of a segment.
///
/// Text form: `required/repair/optimal/total-share_size`, as in `29/35/80/110-256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scheme {
    required: u16,
    repair: u16,
    optimal: u16,
    total: u16,
    share_size: u32,
}

impl Scheme {
    /// Creates a scheme.
    ///
    /// A zero `optimal` defaults to `total`, a zero `repair` to `optimal`.
    ///
    /// # Errors
    ///
    /// Unless 1 ≤ required ≤ optimal ≤ total ≤ [`MAX_TOTAL`], repair ≤ optimal, and share and
    /// stripe are within [`MAX_SHARE_SIZE`] and [`MAX_STRIPE_SIZE`].
    pub fn new(
        required: u16,
        repair: u16,
        optimal: u16,
        total: u16,
        share_size: u32,
    ) -> Result<Self, SchemeError> {
        let optimal = if optimal == 0 { total } else { optimal };
        let repair = if repair == 0 { optimal } else { repair };
        if total == 0 || total > MAX_TOTAL {
            return Err(SchemeError::Total { total });
        }
        if required == 0 || required > optimal || optimal > total || repair > optimal {
            return Err(SchemeError::Order { required, repair, optimal, total });
        }
        let stripe_size = u64::from(required) * u64::from(share_size);
        if share_size == 0 || share_size > MAX_SHARE_SIZE || stripe_size > MAX_STRIPE_SIZE.into() {
            return Err(SchemeError::ShareSize { required, share_size });
        }
        Ok(Self { required, repair, optimal, total, share_size })
    }

    /// Creates a scheme from the signed numbers of a redundancy scheme message.
    ///
    /// # Errors
    ///
    /// When a number is negative or too large, or as for [`Scheme::new`].
    pub fn from_wire(
        required: i32,
        repair: i32,
        optimal: i32,
        total: i32,
        share_size: i32,
    ) -> Result<Self, SchemeError> {
        let count = |value: i32| u16::try_from(value).map_err(|_| SchemeError::Number { value });
        let size = u32::try_from(share_size).map_err(|_| SchemeError::Number { value: share_size });
        Self::new(count(required)?, count(repair)?, count(optimal)?, count(total)?, size?)
    }

    /// Returns the number of pieces needed to restore the segment (k).
    pub const fn required(&self) -> u16 {
        self.required
    }

    /// Returns the number of healthy pieces at which the satellite starts repair.
    pub const fn repair(&self) -> u16 {
        self.repair
    }

    /// Returns the minimum number of pieces stored by a finished upload.
    pub const fn optimal(&self) -> u16 {
        self.optimal
    }

    /// Returns the number of pieces an upload starts with (n).
    pub const fn total(&self) -> u16 {
        self.total
    }

    /// Returns the size of one share in bytes.
    pub const fn share_size(&self) -> u32 {
        self.share_size
    }

    /// Returns the size of one stripe in bytes: one share of each required piece.
    pub const fn stripe_size(&self) -> u32 {
        // At most MAX_STRIPE_SIZE, checked by the constructor.
        self.required as u32 * self.share_size
    }

    /// Returns the code of the scheme.
    pub const fn code(&self) -> Code {
        Code { required: self.required, total: self.total }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { required, repair, optimal, total, share_size } = self;
        write!(f, "{required}/{repair}/{optimal}/{total}-{share_size}")
    }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let malformed = || SchemeError::Text { text: text.chars().take(64).collect() };
        let (counts, share_size) = text.split_once('-').ok_or_else(malformed)?;
        let counts = counts
            .split('/')
            .map(|count| number(count).ok_or_else(malformed))
            .collect::<Result<Vec<u16>, _>>()?;
        let [required, repair, optimal, total] = counts[..] else { return Err(malformed()) };
        let share_size = number(share_size).ok_or_else(malformed)?;
        Self::new(required, repair, optimal, total, share_size)
    }
}

/// Parses digits only; the standard parser would also accept a sign.
fn number<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The parameters of the code's arithmetic: `required` of `total` shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    required: u16,
    total: u16,
}

impl Code {
    /// Creates the code (required, total).
    ///
    /// The field allows one more share than schemes may use.
    ///
    /// # Errors
    ///
    /// Unless 1 ≤ required ≤ total ≤ 256.
    pub const fn new(required: u16, total: u16) -> Result<Self, SchemeError> {
        if total == 0 || total > 256 {
            return Err(SchemeError::Total { total });
        }
        if required == 0 || required > total {
            return Err(SchemeError::Order { required, repair: total, optimal: total, total });
        }
        Ok(Self { required, total })
    }

    /// Returns the number of shares needed to restore a stripe (k).
    pub const fn required(&self) -> u16 {
        self.required
    }

    /// Returns the number of shares of a stripe (n).
    pub const fn total(&self) -> u16 {
        self.total
    }
}

/// Maximum number of pieces of a scheme.
pub const MAX_TOTAL: u16 = 255;

/// Maximum share size in bytes.
pub const MAX_SHARE_SIZE: u32 = 1 << 20;

/// Maximum stripe size in bytes.
pub const MAX_STRIPE_SIZE: u32 = 16 << 20;

/// Why a redundancy scheme is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// A number in the message is out of range.
    #[error("invalid redundancy scheme: number {value} is out of range")]
    Number {
        /// The number.
        value: i32,
    },
    /// The counts are inconsistent.
    #[error(
        "invalid redundancy scheme {required}/{repair}/{optimal}/{total}: must satisfy \
         0 < required ≤ optimal ≤ total and repair ≤ optimal"
    )]
    Order {
        /// Pieces needed.
        required: u16,
        /// Repair threshold.
        repair: u16,
        /// Pieces stored by an upload.
        optimal: u16,
        /// Total number of pieces.
        total: u16,
    },
    /// The share size is zero, or share or stripe are too large.
    #[error("invalid share size {share_size} with {required} required pieces: out of bounds")]
    ShareSize {
        /// Pieces needed.
        required: u16,
        /// The share size.
        share_size: u32,
    },
    /// The text is not of the form `required/repair/optimal/total-share_size`.
    #[error("invalid redundancy scheme {text:?}: expected the form 4/6/8/10-256")]
    Text {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// The number of pieces is zero or too large.
    #[error("invalid redundancy scheme: {total} pieces in total, must be 1 to {MAX_TOTAL}")]
    Total {
        /// The number of pieces.
        total: u16,
    },
}
