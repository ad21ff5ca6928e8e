//! What the API server says when it does not do what was asked, for people.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// Longest wait for the answer to one request.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Most causes of an error that are told.
const CAUSES_MAX: usize = 8;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Fault {
    Kube(kube::Error),
    Late,
    /// The node of a pod does not end it.
    Node,
}

impl Fault {
    /// Code of the API server's answer, if it was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// What was asked about is not there.
    pub fn is_absent(&self) -> bool {
        self.code() == Some(404)
    }
}

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Self {
        Self::Kube(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Late => {
                return write!(
                    f,
                    "the API server of the cluster did not answer in {} s",
                    REQUEST_LIMIT.as_secs()
                );
            }
            Self::Node => return f.write_str("the node does not end what ran before; look at the node"),
            Self::Kube(error) => error,
        };
        if let kube::Error::Api(status) = error {
            let message = &status.message;
            return match status.code {
                401 => write!(
                    f,
                    "the cluster does not take the server's credentials ({message}); look at its kubeconfig or service account"
                ),
                // Policies and quotas say 403 too, in other words.
                403 if message.contains("cannot") => write!(
                    f,
                    "the server may not do it: {message}; give its account the Role of deploy/kubernetes/pods"
                ),
                _ => write!(f, "the cluster refuses it: {message}"),
            };
        }
        write!(f, "the API server of the cluster is not reached: {error}")?;
        let mut cause = error.source();
        for _ in 0..CAUSES_MAX {
            let Some(next) = cause else { break };
            write!(f, ": {next}")?;
            cause = next.source();
        }
        Ok(())
    }
}

/// One request, within its limit.
pub(super) async fn ask<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Fault> {
    match tokio::time::timeout(REQUEST_LIMIT, request).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(Fault::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16, message: &str) -> Fault {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        Fault::Kube(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn it_names_the_right_that_is_missing_and_no_right_where_a_policy_refuses() {
        let right = api(403, r#"pods is forbidden: User "x" cannot create resource "pods""#).to_string();
        assert!(right.contains("cannot create resource") && right.contains("Role"), "{right}");
        let policy = api(403, r#"pods "x" is forbidden: exceeded quota"#).to_string();
        assert!(policy.contains("exceeded quota") && !policy.contains("Role"), "{policy}");
        assert!(api(401, "Unauthorized").to_string().contains("credentials"));
        assert!(api(404, "no").is_absent() && !Fault::Late.is_absent());
    }
}
