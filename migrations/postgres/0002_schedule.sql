-- Times are milliseconds since the epoch.

alter table cursor add column late bigint not null default 0;
-- While rows come late, polls keep a greater distance (milliseconds) until this moment.
alter table cursor add column settle bigint;
alter table cursor add column settle_until bigint;

-- A row per job and connection that is timed or was paused; what the scheduler knows after a restart.
create table schedule (
    connection    text    not null,
    job           text    not null,
    timing        text    not null,
    last_planned  bigint,
    last_started  bigint,
    last_ok       bigint,
    next_due      bigint,
    paused_at     bigint,
    paused_by     text,
    paused_until  bigint,
    paused_reason text,
    primary key (connection, job)
);
