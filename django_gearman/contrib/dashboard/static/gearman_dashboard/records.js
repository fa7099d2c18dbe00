'use strict';
// Helpers of the pages about jobs. Without JavaScript, these pages only lack the two controls below.
for (const all of document.querySelectorAll('input.gearman-all')) {
    const boxes = [...all.form.querySelectorAll('input[name="id"]')];
    const show = () => {
        all.checked = boxes.every(box => box.checked);
        all.indeterminate = !all.checked && boxes.some(box => box.checked);
    };
    all.hidden = false;
    all.addEventListener('change', () => boxes.forEach(box => { box.checked = all.checked; }));
    all.form.addEventListener('change', show);
    window.addEventListener('pageshow', show);
}
if (navigator.clipboard) {
    for (const button of document.querySelectorAll('button[data-copy]')) {
        button.hidden = false;
        button.addEventListener('click', async () => {
            await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
            button.textContent = 'Copied';
        });
    }
}
