-- Times are milliseconds since the epoch; ids are UUIDs (native).

create table message (
    id            uuid    not null primary key,
    connection    text    not null,
    route         text    not null,
    key           text    not null,
    subject       text,
    lane          text    not null,
    state         text    not null,
    reason        text,
    detail        text,
    notes         jsonb,
    wait_for      text,
    held_since    bigint,
    due           bigint not null,
    at_least      bigint not null,
    attempts      bigint not null,
    claim         uuid,
    holder        uuid,
    source        text    not null,
    correlation   text    not null,
    payload       jsonb    not null,
    body          bytea,
    created       bigint not null,
    changed       bigint not null
);
create unique index message_key on message (connection, route, key);
create index message_due on message (lane, due) where state in ('ready', 'waiting');
create index message_subject on message (connection, subject, route) where state in ('ready', 'waiting', 'running');
create index message_wait on message (connection, wait_for) where state = 'waiting';
create index message_state on message (state, changed) where state in ('parked', 'running');

create table subject (
    connection    text    not null,
    name          text    not null,
    token         bigint not null,
    holder        uuid,
    blocked_by    uuid,
    primary key (connection, name)
);
create index subject_holder on subject (holder) where holder is not null;

create table tally (
    shard         bigint not null,
    connection    text    not null,
    lane          text    not null,
    state         text    not null,
    count         bigint not null,
    primary key (shard, connection, lane, state)
);

create table attempt (
    message       uuid    not null,
    number        bigint not null,
    at            bigint not null,
    outcome       text    not null,
    class         text,
    detail        text    not null,
    primary key (message, number, at)
);

create table mapping (
    id                    uuid    not null primary key,
    connection            text    not null,
    kind                  text    not null,
    commercetools_id      text    not null,
    commercetools_key     text,
    commercetools_version bigint not null,
    fluent_id             text,
    fluent_ref            text,
    content_hash          text,
    state                 text    not null,
    extra                 jsonb    not null,
    remembered            jsonb,
    first_seen            bigint not null,
    written               bigint not null,
    last_message          uuid
);
create unique index mapping_commercetools on mapping (connection, kind, commercetools_id);
create unique index mapping_fluent_ref on mapping (connection, kind, fluent_ref) where fluent_ref is not null;
create index mapping_fluent_id on mapping (connection, kind, fluent_id) where fluent_id is not null;
create index mapping_key on mapping (connection, kind, commercetools_key) where commercetools_key is not null;

create table cursor (
    connection    text    not null,
    stream        text    not null,
    position      jsonb    not null,
    found         bigint not null,
    changed       bigint not null,
    primary key (connection, stream)
);

create table lease (
    instance      text    not null primary key,
    daemon        uuid    not null,
    until         bigint not null,
    started       bigint not null
);

create table token (
    id            text    not null primary key,
    name          text    not null,
    hash          bytea    not null,
    scopes        jsonb    not null,
    connections   jsonb    not null,
    created       bigint not null,
    created_by    text    not null,
    expires       bigint,
    last_used     bigint,
    revoked       bigint
);

create table setting (
    connection    text    not null,
    name          text    not null,
    value         text    not null,
    changed       bigint not null,
    primary key (connection, name)
);
