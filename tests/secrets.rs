//! Secrets stay secret: no key, passphrase, API key or name is left in the memory of the process, in its
//! logs, or in the text form of a value. These are the experiments F70 to F72 of
//! `docs/RELIABILITY.md`.
//!
//! A program of its own, because memory and logs belong to a whole process.

mod secrets {
    mod forms;
    mod logs;
    #[cfg(target_os = "linux")]
    mod memory;
    mod network;
    #[cfg(target_os = "linux")]
    mod scan;
    mod types;
    mod values;
}
