//! Why something is as it is: the typed reasons of conditions, waits and Events.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A reason as conditions, waits and Events carry it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, for documentation and tests.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The reason as conditions and Events write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)+ }
            }

            /// What the reason means, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

reasons! {
    /// The resource is valid and its plan is what is being made.
    Valid,
    /// The resource has mistakes; the last good plan goes on running.
    Invalid,
    /// The resource asks for something that this version does not do yet.
    NotYet,
    /// The plan waits for approval by its hash.
    WaitsForApproval,
    /// The resource is paused.
    Paused,
    /// Another cloud has what this one asks for: a port, a node, a network.
    Conflict,
    /// Objects are being applied.
    Applying,
    /// Actions are being done: databases, endpoints, content.
    Acting,
    /// Everything is as the plan says.
    UpToDate,
    /// Every component is ready.
    AllReady,
    /// Something else has to be ready first.
    WaitsForDependency,
    /// Pods are starting.
    Starting,
    /// Pods are being replaced.
    Rolling,
    /// No node has the labels or the room.
    NotSchedulable,
    /// An image cannot be pulled.
    ImageUnavailable,
    /// A container was killed because it used more memory than its limit.
    OutOfMemory,
    /// A volume is full.
    VolumeFull,
    /// A volume is not bound.
    VolumePending,
    /// A port is taken by somebody else.
    PortTaken,
    /// A container ends again and again.
    CrashLoop,
    /// A probe of the component fails.
    NotAnswering,
    /// A database does not answer.
    DatabaseDown,
    /// A message bus does not answer.
    MessagingDown,
    /// A Job failed.
    JobFailed,
    /// A Secret is gone while the volume that needs it exists; nothing is generated anew.
    CredentialsLost,
    /// The identity service refuses the administrator's password: somebody changed it.
    LockedOut,
    /// Less than a majority of members is up.
    QuorumLost,
    /// A node is not ready.
    NodeNotReady,
    /// The API server refused or did not answer.
    ApiFailed,
    /// The cloud is being deleted.
    Deleting,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
