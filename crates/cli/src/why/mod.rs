//! Why a cloud is not ready: what the cluster says of it. The judgement is `oaas-diagnosis`.

pub mod gather;
#[cfg(test)]
mod tests;
