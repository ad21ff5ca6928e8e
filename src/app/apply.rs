//! Documents made to be: planned on the newest state, and carried out in one transaction of the log, or not at all.

use super::plan::{self, Asked, Facts, Ground, NewKeyText, Plan, Request, Values};
use super::{Actor, App, Change, Error};
use crate::id::{ApiKeyId, OwnedSecretId, ProjectId};
use crate::projection::World;
use crate::share::Turns;
use crate::spec::Kind;
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Plans that are made at once, each of another project.
pub const PLANS_MAX: usize = 8;

static PLANS: Semaphore = Semaphore::const_new(PLANS_MAX);
static LINES: LazyLock<Turns<ProjectId>> = LazyLock::new(Turns::default);

impl App {
    /// What [`App::apply`] would do now. Nothing is changed.
    pub async fn plan(self: &Arc<Self>, project: ProjectId, request: Arc<Request>) -> Result<Plan, Error> {
        let (request, values) = self.with_values(project, request).await?;
        let world = self.world();
        self.planned(project, move |app| app.plan_on(&world, project, &request, &values)).await
    }

    /// Makes everything as the documents say, all of it or nothing. With `expected`, the hash of a plan that somebody saw,
    /// only if the plan is still that one.
    pub async fn apply(
        self: &Arc<Self>,
        actor: &Actor,
        project: ProjectId,
        request: Arc<Request>,
        expected: Option<String>,
    ) -> Result<Plan, Error> {
        self.apply_noting(actor, project, request, expected, None, |_, _, _| Ok(vec![])).await
    }

    /// As [`App::apply`], by a commit where there is one; `note` adds facts to the transaction: it is given the state, the
    /// plan, and whether that has facts of its own.
    pub(super) async fn apply_noting(
        self: &Arc<Self>,
        actor: &Actor,
        project: ProjectId,
        request: Arc<Request>,
        expected: Option<String>,
        revision: Option<String>,
        note: impl Fn(&World, &Plan, bool) -> Result<Vec<Change>, Error> + Clone + Send + 'static,
    ) -> Result<Plan, Error> {
        let (request, values) = self.with_values(project, request).await?;
        for _ in 0..super::execute::CONFLICT_RETRIES_MAX {
            let world = self.world();
            let given = Arc::clone(&values);
            let (base, wanted, expected) = (Arc::clone(&world), Arc::clone(&request), expected.clone());
            let (revision, note) = (revision.clone(), note.clone());
            let decided = move |app: &Self| {
                let mut plan = app.plan_on(&base, project, &wanted, &given)?;
                plan.revision = revision;
                if let Some(expected) = expected.filter(|expected| *expected != plan.hash) {
                    return Err(stale(&expected, &plan));
                }
                let mut facts = plan::changes(&plan, &base, project, app.with(&given))?;
                let noted = note(&base, &plan, !facts.changes.is_empty())?;
                facts.changes.extend(noted);
                Ok((plan, facts))
            };
            let (plan, facts) = self.planned(project, decided).await?;
            if self.carry_out(actor, &world, facts, &values).await? {
                return Ok(plan);
            }
        }
        Err(Error::Busy("the same resources".to_owned()))
    }

    /// Ends a resource with what is in it, as pruning does.
    pub async fn delete_resource(
        self: &Arc<Self>,
        actor: &Actor,
        project: ProjectId,
        (kind, id): (Kind, Uuid),
    ) -> Result<(), Error> {
        let values = Arc::new(Values::default());
        for _ in 0..super::execute::CONFLICT_RETRIES_MAX {
            let world = self.world();
            let (base, given) = (Arc::clone(&world), Arc::clone(&values));
            let decided = move |app: &Self| plan::deletion(&base, project, app.with(&given), (kind, id));
            let facts = self.planned(project, decided).await?;
            if self.carry_out(actor, &world, facts, &values).await? {
                return Ok(());
            }
        }
        Err(Error::Busy("the same resource".to_owned()))
    }

    /// Makes facts of a plan true. `false`: somebody else wrote to the same streams first, and nothing was done.
    pub(super) async fn carry_out(
        &self,
        actor: &Actor,
        world: &World,
        facts: Facts,
        values: &Values,
    ) -> Result<bool, Error> {
        let Facts { changes, accounts_gone, keys_gone, values_in, values_gone, keys_in } = facts;
        // What the log tells of can be read, whenever the server ends.
        for (secret, version, fingerprint) in &values_in {
            if let Some(value) = values.get(fingerprint) {
                self.keep_value(*secret, *version, value).await?;
            }
        }
        for new in &keys_in {
            self.keep_key(new).await?;
        }
        let committed = self.commit(actor, world, changes).await;
        // Other errors may come after the facts are in the log: then their values stay until the next start.
        let refused = matches!(&committed, Err(Error::Append(error)) if error.is_refusal());
        if refused || matches!(committed, Ok(false)) {
            self.take_back(&values_in, &keys_in).await;
        }
        if !committed? {
            return Ok(false);
        }
        for account in accounts_gone {
            self.delete_secrets_of(actor, account).await?;
        }
        for (secret, version) in values_gone {
            if let Err(error) = self.forget_value(secret, version).await {
                tracing::warn!(%error, %secret, "a value that nobody uses any more stays in the vault");
            }
        }
        self.forget_keys(&keys_gone).await?;
        Ok(true)
    }

    /// Forgets the values of facts that were not recorded. What stays is found at the next start.
    async fn take_back(&self, values: &[(OwnedSecretId, Uuid, String)], keys: &[NewKeyText]) {
        let versions = values.iter().map(|(secret, version, _)| (*secret, *version));
        for (secret, version) in versions.chain(keys.iter().map(|new| (new.secret, new.version))) {
            if let Err(error) = self.forget_value(secret, version).await {
                tracing::warn!(%error, %secret, "a value that nobody uses stays in the vault");
            }
        }
        let keys: Vec<ApiKeyId> = keys.iter().map(|new| new.key).collect();
        if let Err(error) = self.forget_keys(&keys).await {
            tracing::warn!(%error, "the secrets of keys that were not made stay in the vault");
        }
    }

    /// What facts are made with, and these values.
    pub(super) fn with<'a>(&'a self, values: &'a Values) -> plan::With<'a> {
        plan::With { ids: &*self.ids, values, templates: &*self.settings.templates }
    }

    pub(super) fn plan_on(
        &self,
        world: &World,
        project: ProjectId,
        request: &Request,
        values: &Values,
    ) -> Result<Plan, Error> {
        let ground = Ground { world, project, settings: &self.settings, values, asked: &Asked::default() };
        plan::plan(&ground, request).map_err(|problems| Error::Plan(Box::new(problems)))
    }

    /// Plans of thousands of documents take their time: the threads of the server's connections do not wait for them, and
    /// one project makes them one after another.
    pub(super) async fn planned<T: Send + 'static>(
        self: &Arc<Self>,
        project: ProjectId,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || Error::Busy("plans".to_owned());
        let _turn = LINES.take(project).await.ok_or_else(busy)?;
        let _place = PLANS.acquire().await.map_err(|_| busy())?;
        let app = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&app)).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, %project, "a plan could not be made");
            Err(Error::Busy("plans; the last one failed".to_owned()))
        })
    }
}

fn stale(expected: &str, plan: &Plan) -> Error {
    Error::Rejected {
        refusal: crate::domain::Refusal::State,
        code: "plan-stale",
        text: format!(
            "the state changed since plan {expected} was made, and the plan is now {}; nothing was changed: look at \
             `meshagent diff` again, and apply that",
            plan.hash
        ),
    }
}
