//! Service templates: rendered, and turned into services.

use super::auth::Access;
use super::body::Body;
use super::route::Route;
use super::{Api, Problem};
use crate::domain::template::{self, Missing, Values};
use crate::spec;
use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Name of a template in its problems: it came in a request.
const SOURCE: &str = "template";

/// Templates that are rendered for requests at once; a thread waits for each.
static RENDERINGS: Semaphore = Semaphore::const_new(32);

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(
            Method::POST,
            "/templates/render",
            "render_template",
            "Render a service template with values",
            Access::SignedIn,
            post(render),
        )
        .takes::<TemplateBody>(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct TemplateBody {
    /// YAML text.
    template: String,
    #[serde(default)]
    values: Values,
}

async fn render(
    State(api): State<Api>,
    Body(body): Body<TemplateBody>,
) -> Result<Json<spec::ServiceTemplate>, Problem> {
    rendered(&api, body.template, body.values).await.map(Json)
}

/// Renders a template and turns it into a service.
pub(super) async fn service(api: &Api, text: &str, values: Values) -> Result<spec::Service, Problem> {
    let template = rendered(api, text.to_owned(), values).await?;
    template::to_service(&template).map_err(|problems| refused(&problems))
}

async fn rendered(api: &Api, text: String, values: Values) -> Result<spec::ServiceTemplate, Problem> {
    let busy =
        || Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", "templates are being rendered; try again");
    let with = Arc::clone(&api.app.settings.templates);
    let _place = RENDERINGS.try_acquire().map_err(|_| busy())?;
    let render = move || template::render(&*with, SOURCE, &text, &values, Missing::Empty);
    let done = tokio::task::spawn_blocking(render).await;
    done.map_err(|_| busy())?.map_err(|problems| refused(&problems))
}

fn refused(problems: &[spec::Problem]) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "spec-invalid", spec::summary(problems))
}
