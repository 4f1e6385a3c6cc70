//! Failures of a command: a message for people, an exit code for scripts.

use std::process::ExitCode;
use std::{fmt, io};

use uplink::ErrorKind;

use crate::text::{printable, without_secrets};

/// Result of a command or of a step of one.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command failed: the message printed after `uplink: `, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    scope: Scope,
}

/// Which other objects of the same command a failure affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All others in the same bucket would fail too: it is missing.
    Bucket,
    /// All others would fail too: a full disk, an exceeded limit.
    Command,
    /// Others may fail too while the network or the satellite is unreachable.
    Network,
    /// Others are not affected.
    Object,
}

/// Exit codes, one for each family of failures. [`EXIT_CODES`] documents them for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The reader of standard output exited, which counts as success.
    BrokenPipe = 0,
    /// Everything without a family of its own: mostly local file and system failures.
    Other = 1,
    /// Invalid command line, name or access grant.
    Usage = 2,
    /// A bucket, object, file or stored access is missing.
    NotFound = 3,
    /// The access grant is insufficient or expired, or its API key is unknown.
    Permission = 4,
    /// Wrong passphrase or encryption key, or corrupt data.
    Decryption = 5,
    /// A peer is unreachable, does not respond, or presented a different node id.
    Network = 6,
    /// Too few storage nodes accept or return pieces.
    NotEnoughNodes = 7,
    /// Something already exists, is not empty, or was replaced while it was read.
    Conflict = 8,
    /// A limit of the project is reached, or the satellite's disk is full.
    Limit = 9,
    /// A peer sent an invalid response.
    Protocol = 10,
    /// A commit was sent and its outcome is unknown.
    CommitUnknown = 11,
    /// A command on many objects failed for some of them.
    Incomplete = 12,
    /// Ended by SIGHUP.
    HungUp = 129,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// The end of `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  success, also when the reader of a pipe exits early
    1  local file or system failure, and everything not listed here
    2  wrong usage: arguments, names, ranges, malformed access grants
    3  not found: bucket, object, file, stored access
    4  permission denied: insufficient or expired access grant, unknown API key
    5  decryption failed: wrong passphrase or encryption key, or corrupt data
    6  network failure: satellite or node unreachable, unresponsive or with a different node id
    7  not enough storage nodes for an upload or a download
    8  conflict: already exists, is not empty, or was replaced while it was read
    9  limit of the project reached, or the satellite limits requests or is out of space
   10  invalid response from a peer
   11  outcome unknown: a change was sent and not confirmed
   12  incomplete: some of many objects failed, each reported on its own line
  129  terminal closed (SIGHUP)
  130  interrupted (Ctrl-C); 143 terminated (SIGTERM). An unfinished upload leaves nothing visible

Environment:
  UPLINK_ACCESS  name of a stored access, or an access grant
  UPLINK_LOG     filter for the log on standard error, like `debug` or `uplink=trace`
  NO_COLOR       disables colours if set and not empty";

impl Exit {
    /// Returns the exit code with this number, as reported by another process of this program.
    pub(crate) fn from_code(code: u8) -> Self {
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
    /// Creates a failure from its family and a message without a full stop.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let scope = if exit == Exit::Network { Scope::Network } else { Scope::Object };
        Self { exit, message: message.into(), scope }
    }

    /// Creates a failure for wrong usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Creates a failure for an I/O error. `action` is what failed, like `cannot read "x"`.
    pub(crate) fn io(action: impl fmt::Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::BrokenPipe => Exit::BrokenPipe,
            // Ctrl-C at the passphrase prompt.
            io::ErrorKind::Interrupted => Exit::Interrupted,
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Other,
        };
        let failure = Self::new(exit, format!("{action}: {error}"));
        let disk_full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if disk_full { failure.stopping() } else { failure }
    }

    /// Returns the family of the failure.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the exit code of the process.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// Returns which other objects the failure affects.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// Ends the command that the failure belongs to.
    pub(crate) fn stopping(self) -> Self {
        Self { scope: Scope::Command, ..self }
    }

    /// Limits a missing bucket to this object: others of the command are in another bucket.
    pub(crate) fn outside_bucket(self) -> Self {
        match self.scope {
            Scope::Bucket => Self { scope: Scope::Object, ..self },
            _ => self,
        }
    }

    /// Appends `; remark` to the message.
    pub(crate) fn followed_by(mut self, remark: impl fmt::Display) -> Self {
        self.message = format!("{}; {remark}", self.message);
        self
    }

    /// Prepends `context: ` to the message.
    pub(crate) fn within(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

/// Writes the message on one line: line breaks and other control characters, which may be part of
/// names, are escaped. An access grant or API key, given as the wrong argument, is left out.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&without_secrets(&self.message)))
    }
}

/// Formats an error with its sources, leaving out texts that were already printed: errors of other
/// crates repeat their sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

impl From<uplink::Error> for Failure {
    fn from(error: uplink::Error) -> Self {
        let scope = error.kind().into();
        Self { scope, ..Self::new(error.kind().into(), chain(&error)) }
    }
}

impl From<ErrorKind> for Scope {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::BucketNotFound => Self::Bucket,
            ErrorKind::AccessInvalid
            | ErrorKind::BandwidthLimitExceeded
            | ErrorKind::SatelliteOutOfSpace
            | ErrorKind::SegmentsLimitExceeded
            | ErrorKind::StorageLimitExceeded => Self::Command,
            ErrorKind::CommitUnknown
            | ErrorKind::Network
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Stalled
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
            | ErrorKind::ConfigInvalid
            | ErrorKind::CustomMetadataInvalid
            | ErrorKind::DelimiterInvalid
            | ErrorKind::LinkInvalid
            | ErrorKind::ObjectKeyInvalid
            | ErrorKind::ObjectTooLarge
            | ErrorKind::PartNumberInvalid
            | ErrorKind::PermissionInvalid
            | ErrorKind::PrefixInvalid
            | ErrorKind::RangeInvalid
            | ErrorKind::UploadIdInvalid => Self::Usage,
            ErrorKind::BucketNotFound | ErrorKind::ObjectNotFound => Self::NotFound,
            ErrorKind::PermissionDenied => Self::Permission,
            ErrorKind::Decryption | ErrorKind::LayoutUnauthenticated => Self::Decryption,
            ErrorKind::Network | ErrorKind::Stalled | ErrorKind::WrongNode => Self::Network,
            ErrorKind::NotEnoughNodes => Self::NotEnoughNodes,
            ErrorKind::BucketAlreadyExists
            | ErrorKind::BucketNotEmpty
            | ErrorKind::ObjectAlreadyExists
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

/// Reduces the parser's multi-line message to one line.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self::usage("missing command (try --help)");
        }
        let text = error.to_string();
        let paragraph = text.split("\n\n").next().unwrap_or_default();
        let words: Vec<_> = paragraph.split_whitespace().collect();
        let line = words.join(" ");
        let message = line.strip_prefix("error: ").unwrap_or(&line);
        Self::usage(format!("{message} (try --help)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_documented() {
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
    fn satellite_failures_have_their_scope() {
        for (kind, scope) in [
            (ErrorKind::BucketNotFound, Scope::Bucket),
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
    fn message_about_a_misplaced_secret_does_not_show_it() {
        let key = "13YqdsDpS5T26sbKUPWkqeczTN1TEm28hBuCD5mCGEDsC9JNte3VUbj2iJRsWogorpfbm3cCx8gFfAWPtf3tJncy9YRjU3734VKPYoh";
        let failure = Failure::usage(format!("unexpected argument '{key}'"));
        assert_eq!(failure.to_string(), "unexpected argument '(secret)'");
        let digest = "0".repeat(128);
        assert_eq!(Failure::usage(digest.clone()).to_string(), digest);
    }

    #[test]
    fn message_with_line_breaks_is_printed_on_one_line() {
        let failure = Failure::usage("no \u{1b}[31mcolours\nand no second line");
        assert_eq!(failure.to_string(), "no \\u{1b}[31mcolours\\nand no second line");
    }
}
