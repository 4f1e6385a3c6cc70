//! Secrets from standard input: typed without echo, or read from a pipe.

use std::io::{self, IsTerminal, Read};

use uplink_core::secret::Secret;

use crate::failure::{Failure, Outcome};

/// Reads a secret: one line typed without echo if standard input is a terminal, else all of it, at
/// most `limit` bytes.
///
/// Ctrl-C works meanwhile, and leaves the terminal as it was.
pub(crate) async fn read(prompt: &'static str, limit: u64) -> Outcome<Secret<String>> {
    let _echo = Echo::remember();
    let read = tokio::task::spawn_blocking(move || {
        if io::stdin().is_terminal() {
            rpassword::prompt_password(prompt).map(Secret::new)
        } else {
            read_pipe(limit)
        }
    });
    let read = read.await.map_err(io::Error::from).and_then(|text| text);
    let text = read.map_err(|error| Failure::io("cannot read standard input", &error))?;
    if text.expose().len() as u64 > limit {
        return Err(Failure::usage(format!("standard input holds more than {limit} bytes")));
    }
    Ok(text)
}

/// Reads up to one byte more than `limit`, so that an excess shows.
fn read_pipe(limit: u64) -> io::Result<Secret<String>> {
    let mut text = Secret::new(String::new());
    io::stdin().lock().take(limit.saturating_add(1)).read_to_string(text.expose_mut())?;
    Ok(text)
}

/// Turns the terminal's echo on again when a prompt is abandoned.
struct Echo {
    #[cfg(unix)]
    settings: Option<rustix::termios::Termios>,
}

impl Echo {
    fn remember() -> Self {
        Self {
            #[cfg(unix)]
            settings: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(settings) = &self.settings {
            use rustix::termios::{OptionalActions, tcsetattr};
            // A terminal that is gone needs no echo.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, settings);
        }
    }
}
