<?php
// php client.php [PORT]: submit jobs of the shop.
$client = new GearmanClient();
$client->addServer("127.0.0.1", (int) ($argv[1] ?? 4730));

/** Run a job and return its result; throw an exception if the job fails. */
function run(GearmanClient $client, string $job, mixed $argument): mixed
{
    $reason = null;
    do {
        $answer = $client->doNormal($job, json_encode($argument));
        $code = $client->returnCode();
        if ($code == GEARMAN_WORK_WARNING) {
            $reason = json_decode($answer, true); // a warning comes before the failure
        }
    } while (in_array($code, [GEARMAN_WORK_WARNING, GEARMAN_WORK_DATA, GEARMAN_WORK_STATUS]));
    if ($code != GEARMAN_SUCCESS) {
        throw new RuntimeException($reason["value"]["message"] ?? "the job failed");
    }
    return json_decode($answer, true);
}

echo run($client, "shop.reverse", "hello"), "\n";
echo run($client, "shop.resize", ["args" => ["cat.png"], "kwargs" => ["width" => 3]]), "\n";
try {
    run($client, "shop.reverse", 5);
} catch (RuntimeException $error) {
    echo "failed: ", $error->getMessage(), "\n";
}

// In the background. libgearman makes a unique, so the worker can retry the job.
$client->doBackground("send-mail", json_encode("ada@example.com"));
