//! Failures of a command: one sentence for people, one exit code for scripts.

use std::fmt;
use std::io;
use std::process::ExitCode;

use uplink::ErrorKind;

/// Result of a command or of a step of one.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command ends early: what is printed after `uplink: ` and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    scope: Scope,
}

/// What a failure means for the other objects of the same command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All others would fail too: a full disk, a missing bucket, a used-up limit.
    Command,
    /// Others may fail too, as long as the network or the satellite is out of reach.
    Network,
    /// Others are not affected.
    Object,
}

/// Exit codes, one for each family of failures. [`EXIT_CODES`] describes them to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The reader of our output went away, which is no failure of ours.
    BrokenPipe = 0,
    /// Whatever has no family of its own, above all local files and the system.
    Other = 1,
    /// The command line, a name or an access grant makes no sense.
    Usage = 2,
    /// A bucket, object, file or stored access is missing.
    NotFound = 3,
    /// The access grant does not allow it, is expired, or its API key is not known.
    Permission = 4,
    /// The passphrase or encryption key is another one, or data was changed.
    Decryption = 5,
    /// A peer cannot be reached, does not answer, or is another node.
    Network = 6,
    /// Too few storage nodes take or give pieces.
    NotEnoughNodes = 7,
    /// Something is in the way: it exists already, is not empty, or was replaced meanwhile.
    Conflict = 8,
    /// A limit of the project is reached, or the satellite's disk is full.
    Limit = 9,
    /// A peer's answer makes no sense.
    Protocol = 10,
    /// Whether a commit took effect cannot be learned.
    CommitUnknown = 11,
    /// A command on many objects failed for some of them.
    Incomplete = 12,
    /// Ended because the terminal went away.
    HungUp = 129,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by a request to terminate.
    Terminated = 143,
}

/// The exit codes as `--help` shows them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  success, also when the reader of a pipe goes away
    1  failure of a local file or of the system, and all that is not listed here
    2  wrong usage: arguments, names, ranges, unreadable access grants
    3  not found: bucket, object, file, stored access
    4  not permitted: insufficient or expired access grant, unknown API key
    5  not decryptable: wrong passphrase or encryption key, or data that was changed
    6  network: satellite or node unreachable, silent, or another one than expected
    7  too few storage nodes for an upload or a download
    8  in the way: exists already, is not empty, or was replaced while it was read
    9  a limit of the project is reached, or the satellite asks to slow down or has no space
   10  a peer's answer makes no sense
   11  a commit, deletion or creation was sent and its outcome cannot be learned
   12  incomplete: some of many objects failed; each has a line of its own before
  129  the terminal went away
  130  interrupted (Ctrl-C); 143 terminated. An unfinished upload leaves nothing visible

Environment:
  UPLINK_ACCESS  name of a stored access, or an access grant
  UPLINK_LOG     filter of the log on standard error, like `debug` or `uplink=trace`
  NO_COLOR       no colours if set and not empty";

impl Exit {
    /// Reads the number that another process of this program gave.
    pub(crate) fn of(code: u8) -> Self {
        let known = [
            Self::Usage,
            Self::NotFound,
            Self::Permission,
            Self::Decryption,
            Self::Network,
            Self::NotEnoughNodes,
            Self::Conflict,
            Self::Limit,
            Self::Protocol,
            Self::CommitUnknown,
            Self::Incomplete,
        ];
        known.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Other)
    }
}

impl Failure {
    /// Makes a failure from its family and a sentence without a full stop.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let scope = if exit == Exit::Network { Scope::Network } else { Scope::Object };
        Self { exit, message: message.into(), scope }
    }

    /// Makes a failure of wrong usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Makes a failure of a file or stream, which `what` names: `cannot read "x"`.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::BrokenPipe => Exit::BrokenPipe,
            // A Ctrl-C that was typed where a passphrase was asked for.
            io::ErrorKind::Interrupted => Exit::Interrupted,
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Other,
        };
        let full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let failure = Self::new(exit, format!("{what}: {error}"));
        if full { Self { scope: Scope::Command, ..failure } } else { failure }
    }

    /// Returns the exit code's family.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// Returns what the failure means for other objects.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// Puts `; remark` behind the sentence.
    pub(crate) fn followed_by(mut self, remark: impl fmt::Display) -> Self {
        self.message = format!("{}; {remark}", self.message);
        self
    }

    /// Puts `context: ` before the sentence.
    pub(crate) fn within(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

/// The sentence on one line: line breaks and other control characters, which names given by others
/// may hold, are escaped.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::output::printable(&self.message))
    }
}

impl From<uplink::Error> for Failure {
    fn from(error: uplink::Error) -> Self {
        let scope = error.kind().into();
        Self { scope, ..Self::new(error.kind().into(), error.to_string()) }
    }
}

impl From<ErrorKind> for Scope {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::AccessInvalid
            | ErrorKind::BandwidthLimitExceeded
            | ErrorKind::BucketNotFound
            | ErrorKind::SatelliteOutOfSpace
            | ErrorKind::SegmentsLimitExceeded
            | ErrorKind::StorageLimitExceeded => Self::Command,
            ErrorKind::CommitUnknown
            | ErrorKind::Network
            | ErrorKind::OutcomeUnknown
            | ErrorKind::TooManyRequests => Self::Network,
            _ => Self::Object,
        }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::AccessInvalid
            | ErrorKind::BucketNameInvalid
            | ErrorKind::ObjectKeyInvalid
            | ErrorKind::RangeInvalid
            | ErrorKind::UploadIdInvalid => Self::Usage,
            ErrorKind::BucketNotFound | ErrorKind::ObjectNotFound => Self::NotFound,
            ErrorKind::PermissionDenied => Self::Permission,
            ErrorKind::Decryption | ErrorKind::LayoutUnauthenticated => Self::Decryption,
            ErrorKind::Network | ErrorKind::WrongNode => Self::Network,
            ErrorKind::NotEnoughNodes => Self::NotEnoughNodes,
            ErrorKind::BucketAlreadyExists
            | ErrorKind::BucketNotEmpty
            | ErrorKind::ObjectChanged => Self::Conflict,
            ErrorKind::BandwidthLimitExceeded
            | ErrorKind::SatelliteOutOfSpace
            | ErrorKind::SegmentsLimitExceeded
            | ErrorKind::StorageLimitExceeded
            | ErrorKind::TooManyRequests => Self::Limit,
            ErrorKind::Protocol => Self::Protocol,
            ErrorKind::CommitUnknown | ErrorKind::OutcomeUnknown => Self::CommitUnknown,
            _ => Self::Other,
        }
    }
}

/// Turns what the argument parser says over several lines into one sentence.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self::usage("a command is missing (try --help)");
        }
        let text = error.to_string();
        let paragraph = text.split("\n\n").next().unwrap_or_default();
        let words: Vec<_> = paragraph.split_whitespace().collect();
        let sentence = words.join(" ");
        let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
        Self::usage(format!("{sentence} (try --help)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_described() {
        for exit in [
            Exit::BrokenPipe,
            Exit::Other,
            Exit::Usage,
            Exit::NotFound,
            Exit::Permission,
            Exit::Decryption,
            Exit::Network,
            Exit::NotEnoughNodes,
            Exit::Conflict,
            Exit::Limit,
            Exit::Protocol,
            Exit::CommitUnknown,
            Exit::Incomplete,
            Exit::HungUp,
            Exit::Interrupted,
        ] {
            let code = format!("{:>5}  ", exit as u8);
            assert!(EXIT_CODES.lines().any(|line| line.starts_with(&code)), "{exit:?}");
        }
        assert!(EXIT_CODES.contains("143 terminated"));
    }

    #[test]
    fn failures_of_the_satellite_count_for_all_objects() {
        for (kind, scope) in [
            (ErrorKind::BucketNotFound, Scope::Command),
            (ErrorKind::SatelliteOutOfSpace, Scope::Command),
            (ErrorKind::StorageLimitExceeded, Scope::Command),
            (ErrorKind::Network, Scope::Network),
            (ErrorKind::OutcomeUnknown, Scope::Network),
            (ErrorKind::ObjectNotFound, Scope::Object),
            (ErrorKind::PermissionDenied, Scope::Object),
        ] {
            assert_eq!(Scope::from(kind), scope, "{kind:?}");
        }
    }

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::usage("no \u{1b}[31mcolours\nand no second line");
        assert_eq!(failure.to_string(), "no \\u{1b}[31mcolours\\nand no second line");
    }
}
