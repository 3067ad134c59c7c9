//! The rules that say who is told what, and which of them a company has switched off.

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::consumers::notifications::Rule;
use crate::http::api::acting::Acting;
use crate::http::api::parameters::{Faults, text};
use crate::http::api::path::Path;
use crate::http::api::query::Query;
use crate::http::api::responses::{BodyRefused, Refused};
use crate::http::api::{OfApi, body};
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::notification_rules;

/// Whose rules.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http::api) struct RulesQuery {
    /// The company; only an admin may name another than its own.
    #[param(example = "c1", min_length = 1, max_length = 512)]
    company_id: Option<String>,
}

impl RulesQuery {
    fn company(&self) -> Result<Option<String>, Problem> {
        let mut faults = Faults::default();
        let company = text(&mut faults, "companyId", &self.company_id);
        faults.none()?;
        Ok(company)
    }
}

/// A rule, and whether it tells anybody of the company.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "name": "order_confirmed", "types": ["order.created"], "to": "causer",
    "channels": ["in_app", "email"], "category": "orders", "priority": "normal", "enabled": true
}))]
pub(in crate::http::api) struct RuleView {
    name: String,
    /// Patterns of event types.
    types: Vec<String>,
    /// Whom it tells: `causer`, `data.FIELD`, `admins`, `role:NAME`, `target_admins` or `asker`.
    to: String,
    channels: Vec<String>,
    /// By which people choose their channels.
    category: String,
    /// `low`, `normal`, `high` or `urgent`; some data may make it urgent.
    priority: &'static str,
    /// Whether the company has it on.
    enabled: bool,
}

impl RuleView {
    fn new(rule: &Rule, enabled: bool) -> Self {
        Self {
            name: rule.name.clone(),
            types: rule.types().map(ToString::to_string).collect(),
            to: rule.to.to_string(),
            channels: rule.channels.clone(),
            category: rule.category.clone(),
            priority: rule.usual_priority().as_str(),
            enabled,
        }
    }
}

/// All rules.
#[derive(Serialize, ToSchema)]
pub(in crate::http::api) struct RuleList {
    rules: Vec<RuleView>,
}

/// List the rules of notifications
///
/// Those of this service, and which of them the company has switched off.
#[utoipa::path(
    get, path = "/api/notifications/rules", tag = "notifications",
    params(RulesQuery),
    responses(
        (status = 200, description = "The rules by name", body = RuleList),
        (status = 422, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        Refused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn list(
    State(api): OfApi,
    caller: Caller,
    Query(query): Query<RulesQuery>,
) -> Result<Json<RuleList>, Problem> {
    let view = caller.view(query.company()?.as_deref())?;
    let off = match view.company().or(caller.company()) {
        Some(company) => notification_rules::of_company(&api.0.pool, &view, company).await?,
        None => Default::default(),
    };
    let rules = api.0.rules.iter();
    let rules = rules.map(|rule| RuleView::new(rule, !off.contains(&rule.name)));
    Ok(Json(RuleList {
        rules: rules.collect(),
    }))
}

/// Whether a rule is on.
#[derive(ToSchema)]
#[schema(example = json!({"enabled": false}))]
#[allow(dead_code, reason = "describes what is read from a body")]
pub(in crate::http::api) struct Switch {
    enabled: bool,
}

/// Switch a rule on or off
///
/// For the whole company, and for events that are planned from now on. For whoever administers its
/// webhooks.
#[utoipa::path(
    put, path = "/api/notifications/rules/{rule}", tag = "notifications",
    params(
        ("rule" = String, Path, description = "The rule's name", example = "order_confirmed"),
        RulesQuery,
    ),
    request_body(content = Switch, content_type = "application/json"),
    responses(
        (status = 200, description = "The rule as it is now", body = RuleView),
        (status = 404, description = "No rule of this name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter or a member does not do", body = Problem, content_type = "application/problem+json"),
        Refused, BodyRefused,
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn switch(
    State(api): OfApi,
    acting: Acting,
    Path(name): Path<String>,
    Query(query): Query<RulesQuery>,
    request: Request,
) -> Result<Json<RuleView>, Problem> {
    let company = acting.caller.manages_for(query.company()?.as_deref())?;
    let rule = api.0.rules.get(&name);
    let rule = rule.ok_or_else(|| {
        Problem::not_found("there is no such rule; GET /api/notifications/rules lists them")
    })?;
    let body = body::object(request).await?;
    let mut members = body::Members::read(&body)?;
    let enabled = members.required_boolean("enabled");
    members.done()?;
    let enabled = enabled.unwrap_or(true);
    if notification_rules::switch(&api.0.pool, &company, &name, enabled).await? {
        let action = match enabled {
            true => "notification_rule.enable",
            false => "notification_rule.disable",
        };
        acting.did(&api, action, &name, Some(&company)).await;
    }
    Ok(Json(RuleView::new(rule, enabled)))
}
