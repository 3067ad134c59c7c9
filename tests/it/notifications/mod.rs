//! Notifications on the real stack, with a mail server whose mailboxes are read back.

mod gate;
mod gateway;
mod killed;
mod mailbox;
mod mailed;
mod quiet;
mod refused;
mod settings;
mod sheets;
mod told;
mod world;
