//! Secrets from standard input: a prompt without echo, or a pipe.

use std::io::{self, IsTerminal, Read};

use uplink::Secret;

use crate::failure::{Failure, Outcome};

/// Reads an access grant, which may be surrounded by white space.
pub(crate) async fn read_grant() -> Outcome<Secret<String>> {
    read("Access grant: ", MAX_GRANT_SIZE).await
}

/// Reads a secret: one line without echo if standard input is a terminal, all of standard input
/// otherwise. Fails if it is longer than `limit` bytes.
///
/// Ctrl-C cancels the prompt and restores the terminal.
pub(crate) async fn read(prompt: &'static str, limit: u64) -> Outcome<Secret<String>> {
    let _echo = EchoGuard::new();
    let read = tokio::task::spawn_blocking(move || {
        if io::stdin().is_terminal() {
            rpassword::prompt_password(prompt).map(Secret::new)
        } else {
            read_pipe(limit)
        }
    });
    let failure = |error| Failure::io("cannot read standard input", &error);
    let text = read.await.map_err(io::Error::from).and_then(|text| text).map_err(failure)?;
    if text.expose().len() as u64 > limit {
        return Err(Failure::usage(format!("standard input is longer than {limit} bytes")));
    }
    Ok(text)
}

/// Reads one byte more than `limit`, which shows that the input is longer.
fn read_pipe(limit: u64) -> io::Result<Secret<String>> {
    let mut text = Secret::new(String::new());
    io::stdin().lock().take(limit.saturating_add(1)).read_to_string(text.expose_mut())?;
    Ok(text)
}

/// Restores the terminal's echo when a prompt is cancelled.
struct EchoGuard {
    #[cfg(unix)]
    settings: Option<rustix::termios::Termios>,
}

impl EchoGuard {
    fn new() -> Self {
        Self {
            #[cfg(unix)]
            settings: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }
}

impl Drop for EchoGuard {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(settings) = &self.settings {
            use rustix::termios::{OptionalActions, tcsetattr};
            // Best effort: the terminal may be gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, settings);
        }
    }
}

/// Bytes of an access grant and white space around it.
const MAX_GRANT_SIZE: u64 = 128 << 10;
