//! A judge: a program that does with a foreign client what a test asks for.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::go;

#[cfg(test)]
mod tests;

/// A running judge. Dropping it kills the program.
///
/// It does one thing after the other; tests that want several at once start several.
#[derive(Debug)]
pub struct Judge {
    child: Child,
    input: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    deadline: Duration,
    /// An answer is outstanding that would be taken for the next one.
    lost: bool,
}

/// Time for one command, unless another is set.
const DEADLINE: Duration = Duration::from_secs(120);

impl Judge {
    /// Starts the judge that uses the reference client, building it first if need be.
    ///
    /// `environment` adds variables by which that client is configured. Needs a Tokio runtime.
    ///
    /// # Errors
    /// As [`go::program`], or the program does not start.
    pub fn go(environment: &[(&str, &str)]) -> Result<Self, JudgeError> {
        let mut command = Command::new(go::program("judge")?);
        command.envs(environment.iter().copied());
        Self::start(command)
    }

    /// Starts a program that answers commands as a judge does.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(mut command: Command) -> Result<Self, JudgeError> {
        let name = command.as_std().get_program().to_owned();
        let failed = |error: &io::Error| JudgeError::io(Path::new(&name), error);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(&io::Error::other("started without its pipes")));
        };
        let answers = BufReader::new(output).lines();
        Ok(Self { child, input, answers, deadline: DEADLINE, lost: false })
    }

    /// Sets the time for each command; two minutes unless set.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs a command, an object with the field `op`, and returns what the foreign client returned.
    ///
    /// # Errors
    /// [`JudgeError::Refused`] when that client returned an error. After any other error, or when
    /// this future was dropped, the judge is of no more use.
    pub async fn ask(&mut self, command: &Value) -> Result<Value, JudgeError> {
        let op = command["op"].as_str().unwrap_or_default().to_owned();
        if std::mem::replace(&mut self.lost, true) {
            return Err(JudgeError::Lost { op });
        }
        let exchange = exchange(&mut self.input, &mut self.answers, command);
        let answer = match timeout(self.deadline, exchange).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(ended) => return Err(self.ended(op, ended.err())),
            Err(_) => return Err(JudgeError::Deadline { op, seconds: self.deadline.as_secs() }),
        };
        let answer: Value = serde_json::from_str(&answer)
            .map_err(|error| JudgeError::Answer { op, reason: error.to_string() })?;
        self.lost = false;
        match answer["error"].as_str() {
            Some(text) => Err(JudgeError::Refused(Refusal {
                text: text.to_owned(),
                kind: answer["kind"].as_str().unwrap_or_default().to_owned(),
                code: answer["code"].as_u64().unwrap_or_default(),
            })),
            None => Ok(answer),
        }
    }

    fn ended(&mut self, op: String, error: Option<io::Error>) -> JudgeError {
        let status = self.child.try_wait().ok().flatten();
        let status = status.map(|status| status.to_string());
        let reason = error.map(|error| error.to_string()).or(status);
        JudgeError::Ended { op, reason: reason.unwrap_or_else(|| "its output ended".into()) }
    }
}

async fn exchange(
    input: &mut ChildStdin,
    answers: &mut Lines<BufReader<ChildStdout>>,
    command: &Value,
) -> io::Result<Option<String>> {
    input.write_all(format!("{command}\n").as_bytes()).await?;
    input.flush().await?;
    answers.next_line().await
}

/// The error that a foreign client returned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Its text, for people.
    pub text: String,
    /// The name of the exported error that it is, as `ErrObjectNotFound`; empty if it is none.
    pub kind: String,
    /// The satellite's status code as far as the client lets it be seen; 0 if it does not.
    pub code: u64,
}

/// Why a judge gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The answer is no JSON.
    #[error("the judge's answer to {op:?} makes no sense: {reason}")]
    Answer {
        /// What it was asked to do.
        op: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Its program does not build.
    #[error("{program} does not build the judge:\n{output}")]
    Build {
        /// What builds it.
        program: &'static str,
        /// What that said.
        output: String,
    },
    /// It did not answer in time.
    #[error("the judge did not answer {op:?} within {seconds} s")]
    Deadline {
        /// What it was asked to do.
        op: String,
        /// The time it had.
        seconds: u64,
    },
    /// Its program ended before it answered.
    #[error("the judge ended before it answered {op:?}: {reason}")]
    Ended {
        /// What it was asked to do.
        op: String,
        /// How it ended, as far as that is known.
        reason: String,
    },
    /// The system refused something.
    #[error("{path}: {reason}")]
    Io {
        /// What was used.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// An earlier command got no answer, so that nobody knows which answer comes next.
    #[error("the judge cannot be asked {op:?}: an earlier command got no answer")]
    Lost {
        /// What it should have done.
        op: String,
    },
    /// A program that judges are made of is not on this machine.
    #[error("`{program}` is missing, which the judge is built with: {remedy}")]
    Missing {
        /// The program.
        program: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The foreign client returned an error.
    #[error("refused: {} ({}, code {})", .0.text, .0.kind, .0.code)]
    Refused(Refusal),
}

impl JudgeError {
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io { path: path.display().to_string(), reason: error.to_string() }
    }

    /// Returns the foreign client's error, or this one if there was none.
    ///
    /// # Errors
    /// No answer was given.
    pub fn refusal(self) -> Result<Refusal, Self> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            other => Err(other),
        }
    }
}
