//! The promises that milepost makes, a file for each; the README says which stands where.
//!
//! One program, since linking one for each file takes longer than running them.

mod common;

mod bundle;
mod check;
mod command_line;
mod complete;
mod config;
#[cfg(target_os = "linux")]
mod consent;
mod corpus;
mod damage;
mod dead;
mod deliver;
mod demo;
mod destinations;
mod disk;
mod doctor;
#[cfg(target_os = "linux")]
mod erasure;
mod exit;
mod failed_sync;
mod fixtures;
#[cfg(target_os = "linux")]
mod fork;
mod formats;
mod gap_steps;
mod generations;
#[cfg(target_os = "linux")]
mod grace;
mod hand_over;
mod heartbeat;
#[cfg(target_os = "linux")]
mod hot_path;
mod identity;
mod in_turn;
mod kill;
mod log_bridge;
#[cfg(target_os = "linux")]
mod memory;
mod milestones;
mod misbehaving;
mod network;
mod outage;
mod panics;
mod places;
mod prefect_page;
mod prefect_sdk;
mod privacy;
mod prometheus;
mod public_items;
mod quota;
mod receiver;
mod regressions;
mod secrets;
mod sent;
mod short_lived;
mod side_by_side;
mod signing;
mod space;
mod steps;
mod storm;
#[cfg(target_os = "linux")]
mod sync;
mod versions;
