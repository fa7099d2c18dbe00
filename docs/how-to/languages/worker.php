<?php
// php worker.php [PORT]: serve the jobs php.upper and php.pdf.
$worker = new GearmanWorker();
$worker->addServer("127.0.0.1", (int) ($argv[1] ?? 4730));
$worker->setTimeout(1000); // ask again each second: gearmand 1.1 wakes nobody for a delayed job

$worker->addFunction("php.upper", fn ($job) => json_encode(strtoupper(json_decode($job->workload()))));

$worker->addFunction("php.pdf", function (GearmanJob $job) {
    $page = $job->workload();
    if ($page == "") {
        $job->sendWarning("no paper");
        $job->sendFail();
        return;
    }
    return "%PDF " . $page;
});

while ($worker->work() || $worker->returnCode() == GEARMAN_TIMEOUT);
