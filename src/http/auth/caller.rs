//! Who calls, and what that allows. Handlers take a [`Caller`] and nothing else says who asks, so
//! that a query cannot be built without one.

use crate::consumers::live::Listener;
use crate::http::problem::Problem;
use crate::store::View;
use crate::store::inbox::Owner;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read the events of its company.
    EventsRead,
    /// Read the events of any company.
    EventsReadAny,
    /// Publish events of its company.
    EventsPublish,
    /// Publish events of any company.
    EventsPublishAny,
    /// Read the security audit of its company.
    SecurityRead,
    /// Read the security audit of any company.
    SecurityReadAny,
    /// Administer its company's webhooks, and send its dead letters again.
    WebhooksManage,
    /// Administer the webhooks and dead letters of any company.
    WebhooksManageAny,
}

impl Scope {
    /// Every scope that a key can have.
    pub const ALL: [Self; 8] = [
        Self::EventsRead,
        Self::EventsReadAny,
        Self::EventsPublish,
        Self::EventsPublishAny,
        Self::SecurityRead,
        Self::SecurityReadAny,
        Self::WebhooksManage,
        Self::WebhooksManageAny,
    ];

    /// Its name in lists, requests and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::EventsRead => "events:read",
            Self::EventsReadAny => "events:read:any",
            Self::EventsPublish => "events:publish",
            Self::EventsPublishAny => "events:publish:any",
            Self::SecurityRead => "security:read",
            Self::SecurityReadAny => "security:read:any",
            Self::WebhooksManage => "webhooks:manage",
            Self::WebhooksManageAny => "webhooks:manage:any",
        }
    }

    /// Whether it reaches beyond one company, so that only a key of the platform may have it.
    pub fn is_platforms(self) -> bool {
        matches!(
            self,
            Self::EventsReadAny
                | Self::EventsPublishAny
                | Self::SecurityReadAny
                | Self::WebhooksManageAny
        )
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|scope| scope.name()).collect();
                format!("no such scope; the scopes are: {}", known.join(", "))
            })
    }
}

/// What a token's holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Somebody of a company.
    Member,
    /// Who administers a company.
    CompanyAdmin,
    /// Who operates the platform.
    Admin,
}

impl Role {
    /// By the name in a token.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "member" => Some(Self::Member),
            "company_admin" => Some(Self::CompanyAdmin),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Member => &[Scope::EventsRead],
            Self::CompanyAdmin => &[
                Scope::EventsRead,
                Scope::EventsPublish,
                Scope::SecurityRead,
                Scope::WebhooksManage,
            ],
            Self::Admin => &[
                Scope::EventsRead,
                Scope::EventsReadAny,
                Scope::EventsPublish,
                Scope::EventsPublishAny,
                Scope::SecurityRead,
                Scope::SecurityReadAny,
                Scope::WebhooksManage,
                Scope::WebhooksManageAny,
            ],
        }
    }
}

/// How a caller proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    Key { prefix: String },
    Person { user: String, role: Role },
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    identity: Identity,
    company: Option<String>,
    scopes: Vec<Scope>,
    expires_micros: Option<i64>,
}

impl Caller {
    /// The holder of an API key.
    pub fn key(prefix: &str, company: Option<String>, scopes: Vec<Scope>) -> Self {
        Self {
            identity: Identity::Key {
                prefix: prefix.to_owned(),
            },
            company,
            scopes,
            expires_micros: None,
        }
    }

    /// The holder of a token.
    pub fn person(user: String, company: Option<String>, role: Role) -> Self {
        Self {
            identity: Identity::Person { user, role },
            company,
            scopes: role.scopes().to_vec(),
            expires_micros: None,
        }
    }

    /// Who it is in logs, in the security audit and to the rate limits.
    pub fn name(&self) -> String {
        match &self.identity {
            Identity::Key { prefix } => format!("key:{prefix}"),
            Identity::Person { user, .. } => match &self.company {
                Some(company) => format!("user:{company}/{user}"),
                None => format!("user:{user}"),
            },
        }
    }

    /// Its company; the platform's own callers have none.
    pub fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }

    /// The same until its key or token expires, in microseconds since the Unix epoch.
    pub fn until(mut self, expires_micros: Option<i64>) -> Self {
        self.expires_micros = expires_micros;
        self
    }

    /// Whether it has a scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// What it sees of the log, of `company` where it names one.
    ///
    /// # Errors
    /// A problem where it may not read, or not of that company.
    pub fn view(&self, company: Option<&str>) -> Result<View, Problem> {
        if self.may(Scope::EventsReadAny) {
            return Ok(company.map_or(View::Platform, |company| View::Company(company.to_owned())));
        }
        if !self.may(Scope::EventsRead) {
            return Err(missing(Scope::EventsRead));
        }
        let company = self.own(company)?;
        Ok(match &self.identity {
            Identity::Person {
                user,
                role: Role::Member,
            } => View::Member {
                company,
                user: user.clone(),
            },
            _ => View::Company(company),
        })
    }

    /// What it sees of the security audit, of `company` where it names one.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub fn security_view(&self, company: Option<&str>) -> Result<View, Problem> {
        if self.may(Scope::SecurityReadAny) {
            return Ok(company.map_or(View::Platform, |company| View::Company(company.to_owned())));
        }
        if !self.may(Scope::SecurityRead) {
            return Err(missing(Scope::SecurityRead));
        }
        Ok(View::Company(self.own(company)?))
    }

    /// Whose webhooks and dead letters it administers, of `company` where it names one.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub fn manages(&self, company: Option<&str>) -> Result<View, Problem> {
        if self.may(Scope::WebhooksManageAny) {
            return Ok(company.map_or(View::Platform, |company| View::Company(company.to_owned())));
        }
        if !self.may(Scope::WebhooksManage) {
            return Err(missing(Scope::WebhooksManage));
        }
        Ok(View::Company(self.own(company)?))
    }

    /// The company for which it makes a webhook, `company` where it names one.
    ///
    /// # Errors
    /// As [`Self::view`], and where it has no company and names none.
    pub fn manages_for(&self, company: Option<&str>) -> Result<String, Problem> {
        match self.manages(company)? {
            View::Platform => self.own_company().map(str::to_owned),
            View::Company(company) | View::Member { company, .. } => Ok(company),
        }
    }

    /// Whose notifications it reads: its own, where it is a person of a company.
    ///
    /// # Errors
    /// A problem where it is a program, or belongs to no company.
    pub fn inbox(&self) -> Result<Owner, Problem> {
        let Identity::Person { user, .. } = &self.identity else {
            return Err(Problem::forbidden(
                "notifications are a person's: ask with a token, not with a key",
            ));
        };
        Ok(Owner {
            company_id: self.own_company()?.to_owned(),
            user_id: user.clone(),
        })
    }

    /// Its own company, which is the only one that it may name.
    fn own(&self, named: Option<&str>) -> Result<String, Problem> {
        let own = self.own_company()?;
        if named.is_some_and(|company| company != own) {
            return Err(Problem::forbidden(
                "companyId: only an admin may name another company than its own",
            ));
        }
        Ok(own.to_owned())
    }

    /// As whom it listens to live push: a person as itself, a program for its company as a whole.
    ///
    /// # Errors
    /// A problem where it may not read, or belongs to no company.
    pub fn listens_as(&self) -> Result<Listener, Problem> {
        if !self.may(Scope::EventsRead) && !self.may(Scope::EventsReadAny) {
            return Err(missing(Scope::EventsRead));
        }
        let company = self.own_company()?.to_owned();
        let (user, member, key) = match &self.identity {
            Identity::Key { prefix } => (None, false, Some(prefix.clone())),
            Identity::Person { user, role } => (Some(user.clone()), *role == Role::Member, None),
        };
        Ok(Listener {
            company,
            user,
            member,
            key,
            expires_micros: self.expires_micros,
        })
    }

    /// The company and the user that an event gets which this caller publishes: a program with a
    /// key acts for any user, a person only for itself.
    ///
    /// # Errors
    /// A problem where it may not publish, or not for that company or user.
    pub fn publishes_as(
        &self,
        company: Option<String>,
        user: Option<String>,
    ) -> Result<(Option<String>, Option<String>), Problem> {
        let person = match &self.identity {
            Identity::Person { user, .. } => Some(user),
            Identity::Key { .. } => None,
        };
        if let (Some(own), Some(named)) = (person, &user)
            && own != named
        {
            return Err(Problem::forbidden(
                "userId: the holder of a token publishes only as itself",
            ));
        }
        let user = person.cloned().or(user);
        if person.is_none() && self.may(Scope::EventsPublishAny) {
            return Ok((company, user));
        }
        if !self.may(Scope::EventsPublish) {
            return Err(missing(Scope::EventsPublish));
        }
        let own = self.own_company()?;
        if company.is_some_and(|company| company != own) {
            return Err(Problem::forbidden(
                "companyId: this caller publishes only for its own company",
            ));
        }
        Ok((Some(own.to_owned()), user))
    }

    fn own_company(&self) -> Result<&str, Problem> {
        self.company
            .as_deref()
            .ok_or_else(|| Problem::forbidden("the caller belongs to no company"))
    }
}

fn missing(scope: Scope) -> Problem {
    Problem::forbidden(format!("the caller lacks the scope {}", scope.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(role: Role) -> Caller {
        Caller::person("u".into(), Some("c".into()), role)
    }

    #[test]
    fn each_sees_what_is_its_own() {
        let member = View::Member {
            company: "c".into(),
            user: "u".into(),
        };
        let company = |name: &str| View::Company(name.to_owned());
        assert_eq!(person(Role::Member).view(None).ok(), Some(member));
        let of_company = person(Role::CompanyAdmin);
        assert_eq!(of_company.view(Some("c")).ok(), Some(company("c")));
        assert_eq!(of_company.view(Some("d")).ok(), None);
        let admin = person(Role::Admin);
        assert_eq!(admin.view(None).ok(), Some(View::Platform));
        assert_eq!(admin.view(Some("d")).ok(), Some(company("d")));
        let nobody = Caller::key("p", None, vec![Scope::EventsRead]);
        assert!(nobody.view(None).is_err());
        let publisher = Caller::key("p", Some("c".into()), vec![Scope::EventsPublish]);
        assert!(publisher.view(None).is_err());
    }

    #[test]
    fn who_administers_webhooks_does_so_for_its_company_or_for_any() {
        let company = |name: &str| Some(View::Company(name.to_owned()));
        assert!(person(Role::Member).manages(None).is_err());
        let of_company = person(Role::CompanyAdmin);
        assert_eq!(of_company.manages(None).ok(), company("c"));
        assert!(of_company.manages(Some("d")).is_err());
        assert_eq!(of_company.manages_for(None).ok().as_deref(), Some("c"));
        let admin = person(Role::Admin);
        assert_eq!(admin.manages(None).ok(), Some(View::Platform));
        assert_eq!(admin.manages(Some("d")).ok(), company("d"));
        assert_eq!(admin.manages_for(None).ok().as_deref(), Some("c"));
        assert_eq!(admin.manages_for(Some("d")).ok().as_deref(), Some("d"));
        let platform = Caller::key("p", None, vec![Scope::WebhooksManageAny]);
        assert!(platform.manages_for(None).is_err(), "nobody is named");
        let reader = Caller::key("p", Some("c".into()), vec![Scope::EventsRead]);
        assert!(reader.manages(None).is_err());
    }

    #[test]
    fn a_person_has_notifications_and_a_program_has_none() {
        let own = Owner {
            company_id: "c".into(),
            user_id: "u".into(),
        };
        assert_eq!(person(Role::Member).inbox().ok(), Some(own));
        let operator = Caller::person("u".into(), None, Role::Admin);
        assert!(operator.inbox().is_err(), "of no company");
        let key = Caller::key("p", Some("c".into()), Scope::ALL.to_vec());
        assert!(key.inbox().is_err());
    }

    #[test]
    fn a_key_publishes_for_any_user_and_a_person_as_itself() {
        let text = |text: &str| Some(text.to_owned());
        let key = |company, scope| Caller::key("p", company, vec![scope]);
        let own = key(text("c"), Scope::EventsPublish);
        assert_eq!(
            own.publishes_as(None, text("v")).ok(),
            Some((text("c"), text("v")))
        );
        assert!(own.publishes_as(text("d"), None).is_err());
        let any = key(None, Scope::EventsPublishAny);
        assert_eq!(
            any.publishes_as(text("d"), None).ok(),
            Some((text("d"), None))
        );
        assert_eq!(any.publishes_as(None, None).ok(), Some((None, None)));
        assert!(person(Role::Member).publishes_as(None, None).is_err());
        let admin = person(Role::CompanyAdmin);
        assert_eq!(
            admin.publishes_as(None, None).ok(),
            Some((text("c"), text("u")))
        );
        assert!(admin.publishes_as(None, text("v")).is_err());
        assert!(person(Role::Admin).publishes_as(text("d"), None).is_err());
    }
}
