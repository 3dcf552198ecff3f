//! Tests against a simulated cloud: the emulator in memory, and the same behind HTTP on loopback.

mod emulator;
mod farewell;
mod fixpoint;
mod http;
mod keeping;
mod passes;
mod proxy;
mod session;
mod uploads;
